"""The commands of `dfer` beside `predict`: help, version, models and export."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import dfer_hf
from dfer_hf.checkpoints import DEFAULT_CHECKPOINT

ROOT = Path(__file__).resolve().parent.parent


def test_models_lists_systems_and_checkpoints(dfer):
    code, printed, _ = dfer("models")
    assert code == 0
    rows = [line.split() for line in printed.splitlines() if line.startswith("  ")]
    names = [row[0] for row in rows]
    assert set(dfer_hf.systems()) <= set(names)
    assert set(dfer_hf.shipped_checkpoints()) <= set(names)
    shipped = next(row for row in rows if row[0] == "dfer-frame-resnet-small")
    assert shipped[1] == "frame_resnet"
    # Million parameters, in half precision twice as many megabytes.
    assert 2.5 < float(shipped[2]) < 3.1
    assert 5 < float(shipped[4]) < 6.5


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["predict", "--help"]])
def test_help_needs_neither_torch_nor_the_package(arguments):
    code = (
        f"import sys, dfer_cli\ntry:\n dfer_cli.main({arguments})\nfinally:\n"
        " heavy = {'torch', 'transformers', 'cv2', 'numpy', 'dfer_hf'} & set(sys.modules)\n"
        " assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "dfer" in done.stdout


def test_version_is_that_of_the_package(dfer):
    assert dfer("--version") == (0, f"dfer-hf {dfer_hf.__version__}\n", "")


def test_export_writes_a_shipped_checkpoint_with_its_code_and_card(dfer):
    code, printed, _ = dfer("export", DEFAULT_CHECKPOINT, "mine")
    assert code == 0
    names = sorted(path.name for path in Path("mine").iterdir())
    assert [line.strip() for line in printed.splitlines()[1:]] == names
    assert {"README.md", "config.json", "modeling_dfer.py", "video_processing_dfer.py"} <= set(names)
    shipped = dfer_hf.shipped_checkpoints()[DEFAULT_CHECKPOINT]
    for name in ("README.md", "model.safetensors"):
        assert Path("mine", name).stat().st_size == pytest.approx((shipped / name).stat().st_size, rel=0.01)


@pytest.mark.parametrize("name", ["aen:tiny", "frame_resnet:small"])
def test_export_of_a_system_says_that_its_weights_are_random(dfer, name):
    code, printed, _ = dfer("export", name, "mine")
    assert code == 0
    assert "random" in printed
    assert "README.md" in printed
    assert json.loads(Path("mine/config.json").read_text(encoding="utf-8"))["model_type"].startswith("dfer_")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["export", "aen:huge", "mine"], "huge"),
        (["export", "nobody", "mine"], "nobody"),
        (["export", "aen:tiny", "full"], "stranger.txt"),
        (["export", "aen:tiny", "full/stranger.txt"], "stranger.txt"),
        (["export", "aen:tiny"], "FOLDER"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_an_export_that_cannot_be_is_refused_and_writes_nothing(dfer, arguments, message):
    Path("full").mkdir()
    Path("full/stranger.txt").touch()
    code, _, errors = dfer(*arguments)
    assert code == 2
    assert message in errors
    assert sorted(str(path) for path in Path().rglob("*")) == ["full", "full/stranger.txt"]


def test_a_system_whose_library_is_missing_is_said_and_does_not_stop_the_others(dfer, monkeypatch):
    monkeypatch.setattr(dfer_hf.models.modeling_cfc_sp_nets, "is_timm_available", lambda: False)
    code, printed, _ = dfer("models", "--measure", "cfc_sp:small", "resnet_rnn:small")
    assert code == 0
    assert "resnet_rnn:small" in printed
    assert "pip install dfer-hf[cfc]" in printed
    code, _, errors = dfer("export", "cfc_sp:small", "mine")
    assert code == 2
    assert "pip install dfer-hf[cfc]" in errors
