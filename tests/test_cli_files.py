"""`dfer predict` and the files that people name: lists, links, pipes, devices, folders, limits."""

import os
import shutil
from pathlib import Path

import pytest

import dfer_inputs
from tests.shared_data import SHARED_DATA

from .test_cli import read_json


def test_a_list_gives_a_list_however_many_files_it_names(dfer, clips, tmp_path):
    for names in (["short.webm"], ["short.webm", "still.png"]):
        (tmp_path / "names.txt").write_text("\n".join(str(clips / name) for name in names), encoding="utf-8")
        assert dfer("predict", tmp_path / "names.txt", "--json", "out.json")[0] == 0
        assert [answer["source"] for answer in read_json("out.json")] == names


def test_an_output_that_is_a_link_is_written_through_and_keeps_its_permissions(dfer, clips, tmp_path):
    (tmp_path / "kept").mkdir()
    for name in ("out.json", "out.webm"):
        kept = tmp_path / "kept" / name
        kept.write_text("old", encoding="utf-8")
        kept.chmod(0o600)
        (tmp_path / name).symlink_to(kept)
    assert dfer("predict", clips / "short.webm", "--json", "out.json", "--overlay", "out.webm")[0] == 0
    for name in ("out.json", "out.webm"):
        assert (tmp_path / name).is_symlink()
        kept = tmp_path / "kept" / name
        assert kept.stat().st_mode & 0o777 == 0o600
        assert kept.stat().st_size > 100
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == ["out.json", "out.webm"]


@pytest.mark.skipif(not Path("/dev/fd").is_dir(), reason="needs descriptors as files")
def test_answers_go_into_a_pipe(dfer, clips):
    reads, writes = os.pipe()
    try:
        assert dfer("predict", clips / "still.png", "--csv", f"/dev/fd/{writes}")[0] == 0
        assert os.read(reads, 1 << 16).startswith(b"source,")
    finally:
        os.close(reads)
        os.close(writes)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_an_overlay_does_not_take_the_place_of_a_device(dfer, clips, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "out.webm").symlink_to(tmp_path / "pipe")
    code, _, errors = dfer("predict", clips / "short.webm", "--overlay", "out.webm")
    assert code == 1
    assert "no regular file" in errors
    assert (tmp_path / "pipe").is_fifo()


@pytest.mark.parametrize(("option", "name"), [("--overlay", "-"), ("--maps", "-")])
def test_pictures_do_not_go_to_the_screen(dfer, clips, tmp_path, option, name):
    code, _, errors = dfer("predict", clips / "short.webm", option, name)
    assert (code, list(tmp_path.iterdir())) == (2, [])
    assert "or a folder, got '-'" in errors


def test_an_empty_target_is_refused_and_not_forgotten(dfer, clips):
    code, _, errors = dfer("predict", clips / "short.webm", "--target", "")
    assert code == 2
    assert "got ''" in errors


def test_linked_folders_are_looked_into_once(clips, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "elsewhere").mkdir()
    shutil.copy(clips / "still.png", tmp_path / "elsewhere")
    (tmp_path / "data" / "linked").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "data", target_is_directory=True)
    shutil.copy(clips / "still.png", tmp_path / "data" / "z.png")
    found = dfer_inputs.find_inputs([tmp_path / "data"], recursive=True)
    # What also has a path of its own is called by that.
    assert found == [tmp_path / "data" / "linked" / "still.png", tmp_path / "data" / "z.png"]


def test_a_limit_may_be_as_large_as_one_likes(dfer, clips):
    assert dfer("predict", clips / "short.webm", "--max-side", "100000", "--quiet")[0] == 0


def test_a_picture_is_called_one(dfer, clips):
    assert dfer("predict", clips / "still.png")[1].startswith("still.png: 1 picture, answered by ")


def assert_each_file_has_the_answer_that_it_has_alone(dfer, files):
    alone = {}
    for file in files:
        dfer("predict", file, "--json", "alone.json")
        answer = read_json("alone.json")
        alone[answer["source"]] = answer
    for order in (files, files[::-1]):
        code, *_ = dfer("predict", *order, "--json", "all.json")
        answers = read_json("all.json")
        assert [answer["source"] for answer in answers] == [file.name for file in order]
        for answer in answers:
            assert answer == alone[answer["source"]]
    assert code == (1 if any("error" in answer for answer in alone.values()) else 0)


def test_a_batch_gives_each_file_the_answer_that_it_has_alone(dfer, clips):
    names = ("text.mp4", "pair.webm", "truncated.webm", "faceless.webm", "still.png", "empty.mp4", "short.webm")
    assert_each_file_has_the_answer_that_it_has_alone(dfer, [clips / name for name in names])


@pytest.mark.slow
def test_interlaced_files_have_the_answers_that_they_have_alone(dfer, clips):
    cases = SHARED_DATA / "cases"
    if not cases.is_dir():
        pytest.skip(f"There is no {cases}.")
    names = ("il_mpeg2.mpg", "plain.mp4", "fast_interlaced.mp4", "rotate_midway.ts")
    files = [cases / name for name in names]
    assert_each_file_has_the_answer_that_it_has_alone(dfer, [*files[:2], clips / "text.mp4", *files[2:]])
