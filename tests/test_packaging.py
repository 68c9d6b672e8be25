import ast
import inspect
import json
import os
import site
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

import dfer_hf
from dfer_hf.checkpoints import DEFAULT_CHECKPOINT
from dfer_hf.models.hub_code import code_files

ROOT = Path(__file__).resolve().parent.parent
PROCESSOR_FILES = code_files(Path(inspect.getfile(dfer_hf.DferVideoProcessor)))
HUB_FILES = sorted({*ROOT.glob("dfer_hf/models/*.py"), *PROCESSOR_FILES})
HUB_LIBRARIES = {"torch", "torchvision", "timm", "transformers", "huggingface_hub"} | set(sys.stdlib_module_names)
FACE_LIBRARIES = {"PIL", "av", "cv2", "facenet_pytorch", "numpy"}


@pytest.mark.parametrize("path", HUB_FILES, ids=lambda path: path.name)
def test_files_copied_to_the_hub_import_only_what_is_there(path):
    """There they lie in one folder, so that `from ..video.reader import` becomes `from .reader import`."""
    libraries = HUB_LIBRARIES | (FACE_LIBRARIES if path in PROCESSOR_FILES else set())
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            assert {alias.name.partition(".")[0] for alias in node.names} <= libraries
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            assert node.module.partition(".")[0] in libraries
        elif isinstance(node, ast.ImportFrom):
            folder = path.parents[node.level - 1]
            assert (folder / f"{(node.module or '').replace('.', '/')}.py") in HUB_FILES, f"line {node.lineno}"


def test_no_two_files_copied_to_the_hub_have_the_same_name():
    names = [path.name for path in HUB_FILES]
    assert sorted(set(names)) == sorted(names)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built offline with what is installed."""
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("wheel")
    build = ["pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", folder, ROOT]
    subprocess.run([sys.executable, "-m", *build], check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    return path


@pytest.mark.slow
def test_wheel_carries_all_that_is_needed_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    expected = {"dfer_cli.py", "dfer_inputs.py", "dfer_start.py", "dfer_hf/py.typed", "dfer_hf/language/german.json"}
    expected |= {str(path.relative_to(ROOT)) for path in ROOT.glob("dfer_hf/**/*.py")}
    expected.add("dfer_hf/page/app.py")
    for folder in ("model_cards", "examples", "page"):
        files = [path for path in (ROOT / folder).rglob("*") if path.is_file() and path.suffix not in (".pyc", ".pyi")]
        assert files
        expected |= {f"dfer_hf/{path.relative_to(ROOT)}" for path in files}
    assert names == expected


@pytest.mark.slow
def test_wheel_answers_in_an_environment_of_its_own(wheel, clips, tmp_path):
    home = tmp_path / "environment"
    venv.create(home, with_pip=False)
    scripts = home / ("Scripts" if os.name == "nt" else "bin")
    python = scripts / "python"
    query = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = Path(subprocess.run([python, "-c", query], check=True, capture_output=True, text=True).stdout.strip())
    # The libraries come from this environment, after its own, so nothing is downloaded and ours is the wheel's.
    (packages / "libraries.pth").write_text("\n".join(site.getsitepackages()), encoding="utf-8")
    install = ["pip", "--python", python, "install", "--no-deps", "--no-index", wheel]
    subprocess.run([sys.executable, "-m", *install], check=True, capture_output=True)

    def run(*command):
        done = subprocess.run(
            [*command],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            env=os.environ | {"HF_HUB_OFFLINE": "1"},
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = run(python, "-c", "import dfer_hf; print(dfer_hf.__file__)")
    assert Path(where.strip()).is_relative_to(packages)
    listed = run(scripts / "dfer", "models")
    assert DEFAULT_CHECKPOINT in listed
    answer = json.loads(run(scripts / "dfer", "predict", clips / "still.png", "--json", "-"))
    assert answer["model"] == DEFAULT_CHECKPOINT
