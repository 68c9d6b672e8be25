import subprocess
import sys
from pathlib import Path

import pytest

import dfer_cli
import training.cli


@pytest.mark.parametrize("command", training.cli.COMMANDS)
def test_every_command_explains_itself(command, capsys):
    with pytest.raises(SystemExit) as ended:
        training.cli.main([command, "--help"])
    assert ended.value.code == 0
    assert f"dfer-train {command}" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["training.train"], ["training.cli", "train"]], ids=["module", "dfer-train"])
def test_help_imports_nothing_heavy(words):
    program = (
        "import runpy, sys; sys.argv = ['x', *sys.argv[2:], '--help']\n"
        "try: runpy.run_module(sys.orig_argv[3], run_name='__main__')\n"
        "except SystemExit: print(sorted({'torch', 'transformers', 'accelerate', 'numpy'} & set(sys.modules)))"
    )
    shown = subprocess.run(
        [sys.executable, "-c", program, *words], capture_output=True, text=True, cwd=Path(__file__).parents[2]
    )
    assert shown.stdout.endswith("\n[]\n")
    assert "--data-root" in shown.stdout


def test_an_unknown_command_is_refused(capsys):
    with pytest.raises(SystemExit) as ended:
        training.cli.main(["trian"])
    assert ended.value.code == 2
    assert "invalid choice: 'trian'" in capsys.readouterr().err


def test_a_wrong_recipe_is_one_line_and_no_traceback(tmp_path, capsys):
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('system = "aen"\ndata = "dfew"\n', encoding="utf-8")
    words = ["train", recipe, "--data-root", tmp_path, "--output", tmp_path / "run"]
    assert training.cli.main([str(word) for word in words]) == 1
    error = capsys.readouterr().err
    assert error.startswith(
        "dfer-train train: ValueError: recipe.toml lacks ['batch_size', 'learning_rate', 'stages']"
    )
    assert error.count("\n") == 1


def test_a_wrong_root_says_what_was_looked_for(tmp_path, capsys):
    assert training.cli.main(["check", "dfew", str(tmp_path)]) == 1
    words = ["prepare", "dfew", str(tmp_path), "--output", str(tmp_path / "cache")]
    assert training.cli.main(words) in (1, 2)
    captured = capsys.readouterr()
    assert "Expected" in captured.err + captured.out
    assert "Traceback" not in captured.err


def test_a_wheel_without_training_says_in_one_line_what_to_do(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "training.cli", None)
    with pytest.raises(SystemExit) as ended:
        dfer_cli.run_training()
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("dfer-train: training is not part of the installed package. Clone the repository")
    assert error.count("\n") == 1


def test_a_library_that_is_missing_is_named_with_the_extra(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "training.crossval", None)
    assert training.cli.main(["crossval", str(tmp_path)]) == 1
    assert 'Run `pip install --editable ".[train]"`.' in capsys.readouterr().err
