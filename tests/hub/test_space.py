"""The folder of a Space: what `dfer space` writes, and what `dfer push --space` sends."""

import csv
import io
import json
import re
import shutil
import zipfile
from pathlib import Path

import pytest
from huggingface_hub import SpaceCard

import dfer_hf
from dfer_hf.hub.space import HARDWARE, SpaceError, write_space
from dfer_hf.hub.wheel import write_wheel

from .conftest import write_checkpoint

ROOT = Path(__file__).resolve().parents[2]
COLOURS = ("red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray")


@pytest.fixture
def shipped(models, tmp_path, monkeypatch):
    """One tiny checkpoint in the place of those that ship, beside the page and the examples as they are."""
    place = tmp_path / "shipped"
    write_checkpoint(models["frame_resnet"], place / "model_cards" / "dfer-first")
    for name in ("page", "app.py", "examples"):
        (place / name).symlink_to(ROOT / name)
    for module in ("checkpoints", "hub.space", "hub.wheel"):
        monkeypatch.setattr(f"dfer_hf.{module}.shipped_folder", lambda name: place / name)
    return place


@pytest.fixture
def space(shipped, tmp_path):
    assert shipped
    write_space(tmp_path / "space")
    return tmp_path / "space"


def names_in(folder):
    return {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}


def test_a_space_is_complete(space):
    names = names_in(space)
    assert {"README.md", "requirements.txt", "app.py", "serve.py", "dfer_space.json"} <= names
    assert {"page/layout.py", "page/page.css", "page/timeline.js", "page/live.js"} <= names
    assert "examples/astronaut.webm" in names
    assert f"dfer_hf-{dfer_hf.__version__}-py3-none-any.whl" in names
    assert names == set(json.loads((space / "dfer_space.json").read_text(encoding="utf-8"))["files"])
    assert (space / "serve.py").read_bytes() == (ROOT / "app.py").read_bytes()


@pytest.mark.parametrize("moved", [0, 1, 3])
def test_a_space_that_was_interrupted_is_written_anew(shipped, tmp_path, monkeypatch, moved):
    assert shipped
    move, done = shutil.move, []

    def interrupted(source, target):
        if len(done) == moved:
            raise KeyboardInterrupt
        done.append(target)
        move(source, target)

    monkeypatch.setattr("dfer_hf.hub.space.shutil.move", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_space(tmp_path / "space")
    monkeypatch.setattr("dfer_hf.hub.space.shutil.move", move)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []
    write_space(tmp_path / "space")
    assert names_in(tmp_path / "space") == set(
        json.loads((tmp_path / "space" / "dfer_space.json").read_text(encoding="utf-8"))["files"]
    )


@pytest.mark.parametrize("hardware", HARDWARE)
def test_the_front_matter_is_what_the_hub_takes(shipped, tmp_path, hardware):
    assert shipped
    write_space(tmp_path / "space", hardware=hardware)
    data = SpaceCard((tmp_path / "space" / "README.md").read_text(encoding="utf-8")).data.to_dict()
    assert (data["sdk"], data["app_file"], data["license"]) == ("gradio", "app.py", "apache-2.0")
    assert re.fullmatch(r"6\.\d+\.\d+", data["sdk_version"])
    assert data["python_version"] in ("3.10", "3.12")
    assert data["suggested_hardware"] == HARDWARE[hardware]
    assert len(data["short_description"]) <= 60
    assert {data["colorFrom"], data["colorTo"]} <= set(COLOURS)
    assert "models" not in data
    lines = (tmp_path / "space" / "requirements.txt").read_text(encoding="utf-8").splitlines()
    torch = next(line for line in lines if re.match(r"torch\b", line))
    assert torch == ("torch>=2.8,<2.12" if hardware == "zero" else "torch>=2.8")
    assert ("spaces" in lines) == (hardware == "zero")
    # All of it is on an index, and Gradio comes by the front matter.
    assert not [line for line in lines if line.startswith((".", "/", "dfer", "gradio")) or ":" in line]


def test_checkpoints_may_come_from_the_hub_instead(shipped, tmp_path):
    assert shipped
    write_space(tmp_path / "space", namespace="me")
    data = SpaceCard((tmp_path / "space" / "README.md").read_text(encoding="utf-8")).data.to_dict()
    assert data["models"] == ["me/dfer-first"]
    (loaded,) = data["preload_from_hub"]
    assert loaded == "me/dfer-first README.md,config.json,video_preprocessor_config.json,model.safetensors"
    (wheel,) = (tmp_path / "space").glob("*.whl")
    assert not [name for name in zipfile.ZipFile(wheel).namelist() if name.endswith(".safetensors")]


@pytest.mark.usefixtures("shipped")
def test_the_wheel_is_whole_and_its_record_true(tmp_path):
    wheel = write_wheel(tmp_path)
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        assert archive.testzip() is None
        about = f"dfer_hf-{dfer_hf.__version__}.dist-info"
        recorded = [row[0] for row in csv.reader(io.StringIO(archive.read(f"{about}/RECORD").decode()))]
        assert f"Version: {dfer_hf.__version__}\n" in archive.read(f"{about}/METADATA").decode()
    assert sorted(recorded) == sorted(names)
    expected = {path.relative_to(ROOT).as_posix() for path in ROOT.glob("dfer_hf/**/*.py")}
    assert expected <= set(names)
    assert {"dfer_cli.py", "dfer_inputs.py", "dfer_start.py", "dfer_hf/py.typed"} <= set(names)
    assert "dfer_hf/model_cards/dfer-first/model.safetensors" in names
    assert not [name for name in names if name.endswith((".pyc", ".pyi")) or "/page/" in name]
    before = wheel.read_bytes()
    assert write_wheel(tmp_path).read_bytes() == before


def test_a_space_is_written_anew_but_nothing_else_is_touched(space, tmp_path):
    (space / "dfer_hf-0.0.1-py3-none-any.whl").write_bytes(b"")
    with pytest.raises(SpaceError, match=r"dfer_hf-0\.0\.1"):
        write_space(space)
    (space / "dfer_hf-0.0.1-py3-none-any.whl").unlink()
    write_space(space, hardware="cpu")
    assert "cpu-basic" in (space / "README.md").read_text(encoding="utf-8")
    mine = tmp_path / "thesis"
    mine.mkdir()
    (mine / "chapter.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(SpaceError, match="thesis"):
        write_space(mine)
    assert names_in(mine) == {"chapter.txt"}


@pytest.mark.usefixtures("shipped")
def test_the_folder_where_one_is_may_become_one(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert (tmp_path / "here" / "README.md").resolve() in write_space(Path(), hardware="cpu", namespace="me")


def test_a_manifest_that_names_files_elsewhere_deletes_nothing(space, tmp_path):
    (tmp_path / "kept.txt").write_text("mine", encoding="utf-8")
    (space / "dfer_space.json").write_text('{"files": ["../kept.txt"]}', encoding="utf-8")
    with pytest.raises(SpaceError):
        write_space(space)
    assert (tmp_path / "kept.txt").is_file()


def test_the_command_writes_a_space_and_pushes_it(hub, shipped, tmp_path, dfer):
    assert shipped
    folder = tmp_path / "mine"
    code, printed, errors = dfer("space", folder, "--hardware", "cpu")
    assert code == 0, errors
    assert "serve.py" in printed
    assert dfer("push", "--dry-run", "--space", folder, "me/faces")[0] == 0
    assert not hub.requests
    code, printed, errors = dfer("push", "--space", folder, "me/faces")
    assert code == 0, errors
    assert f"{hub.url}/spaces/me/faces" in printed
    sent = hub.repositories["me/faces"].files
    assert names_in(folder) == sent.keys() - {".gitattributes"}
    assert sent["page/live.js"] == (ROOT / "page/live.js").read_bytes()
    assert "0 sent, 0 deleted" in dfer("push", "--space", folder, "me/faces")[1]
    # What an earlier version brought and this one does not.
    (folder / "page" / "old.js").write_text("", encoding="utf-8")
    manifest = json.loads((folder / "dfer_space.json").read_text(encoding="utf-8"))
    manifest["files"].append("page/old.js")
    (folder / "dfer_space.json").write_text(json.dumps(manifest), encoding="utf-8")
    assert "2 sent, 0 deleted" in dfer("push", "--space", folder, "me/faces")[1]
    assert dfer("space", folder, "--hardware", "cpu")[0] == 0
    assert "1 sent, 1 deleted" in dfer("push", "--space", folder, "me/faces")[1]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["space", "thesis"], "SpaceError: "),
        (["push", "--space", "thesis", "me/faces"], "SpaceError: "),
        (["push", "--space", "thesis"], "Expected FOLDER NAMESPACE/NAME, got thesis"),
    ],
)
@pytest.mark.usefixtures("hub")
def test_what_is_no_space_is_refused_by_name(dfer, tmp_path, monkeypatch, arguments, error):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("mine", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    code, _, errors = dfer(*arguments)
    assert code == 2
    assert error in errors
