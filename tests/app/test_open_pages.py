"""What belongs to a page is deleted with it, and nothing else ever is."""

import os
import time
from contextlib import suppress
from pathlib import Path

import pytest

from dfer_hf import open_pages
from dfer_hf.open_pages import OpenPages

from .visits import files_in


def test_leftovers_are_deleted_within_the_promised_times():
    assert open_pages.DELETE_EVERY + open_pages.DELETE_AGE <= 3600
    assert open_pages.DELETE_EVERY + open_pages.UNSHOWN_AGE <= 600


def test_what_no_page_shows_is_deleted_sooner(tmp_path):
    shown, left, asked = (tmp_path / name for name in ("a/shown.mp4", "b/left.mp4", "c/asked.mp4"))
    long_ago = time.time() - open_pages.UNSHOWN_AGE - 1
    for path in (shown, left, asked):
        path.parent.mkdir()
        path.touch()
        os.utime(path, (0, long_ago))
    pages = OpenPages(tmp_path)
    pages.show("page", str(shown))
    pages.show("call", str(asked), is_open=False)
    with pages.analysis("call") as (folder, page):
        (folder / "answer.json").touch()
        page.last_used = long_ago
        # It waits for its turn for as long as it takes.
        pages.delete_old()
        assert {path.name for path in files_in(tmp_path)} == {"shown.mp4", "asked.mp4", "answer.json"}
    # Counted from when it is answered.
    pages.delete_old()
    assert asked.exists()
    assert (folder / "answer.json").exists()
    page.last_used = long_ago
    pages.page("page").last_used = long_ago
    pages.delete_old()
    assert files_in(tmp_path) == [shown]


def test_an_upload_that_is_asked_about_twice_stays_for_the_second_answer(tmp_path):
    upload = tmp_path / "a" / "clip.mp4"
    upload.parent.mkdir()
    upload.touch()
    pages = OpenPages(tmp_path)
    for call in ("analyse", "explain"):
        pages.show(call, str(upload), is_open=False)
    pages.page("analyse").last_used -= open_pages.UNSHOWN_AGE + 1
    pages.delete_old()
    assert list(pages.pages) == ["explain"]
    assert upload.exists()


def test_old_pages_and_uploads_that_broke_off_are_deleted(tmp_path):
    pages = OpenPages(tmp_path)
    names = ("a/old.mp4", "b/new.mp4", "tmpold", "tmpnew", "c/answer.json")
    old, new, broken, coming, answer = (tmp_path / name for name in names)
    for path in (old, new, broken, coming, answer):
        path.parent.mkdir(exist_ok=True)
        path.touch()
    pages.show("page", str(old))
    pages.page("page").folders.add(answer.parent)
    pages.page("page").last_used -= open_pages.DELETE_AGE + 1
    os.utime(broken, (0, time.time() - open_pages.STALLED_AGE - 1))
    pages.delete_old()
    assert {path.name for path in files_in(tmp_path)} == {"new.mp4", "tmpnew"}
    assert not pages.pages
    os.utime(new, (0, time.time() - open_pages.DELETE_AGE - 1))
    pages.delete_old()
    assert files_in(tmp_path) == [coming]
    os.utime(new.parent, (0, 0))
    pages.delete_old()
    assert list(tmp_path.iterdir()) == [coming]


def test_an_upload_lives_as_long_as_a_page_shows_it(tmp_path):
    shared, own = tmp_path / "a" / "shared.mp4", tmp_path / "b" / "own.mp4"
    for path in (shared, own):
        path.parent.mkdir()
        path.touch()
    pages = OpenPages(tmp_path)
    pages.show("first", str(shared))
    pages.show("second", str(shared))
    assert pages.show("first", str(own))
    assert shared.exists()
    pages.close("second")
    assert not shared.exists()
    assert own.exists()


def test_an_analysis_that_starts_as_its_page_closes_is_stopped(tmp_path):
    pages = OpenPages(tmp_path)
    pages.close("page")
    with pages.analysis("page") as (_, page):
        assert page.cancelled.is_set()


def test_results_stay_unless_the_analysis_fails(tmp_path):
    pages = OpenPages(tmp_path)
    with pages.analysis("page") as (good, _):
        (good / "overlay.webm").touch()
    with suppress(ZeroDivisionError), pages.analysis("page") as (bad, _):
        (bad / "overlay.webm").touch()
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == [good]
    pages.close("page")
    assert list(tmp_path.iterdir()) == []


def test_files_outside_the_cache_are_never_deleted(tmp_path):
    example = tmp_path / "example.webm"
    example.touch()
    pages = OpenPages(tmp_path / "cache")
    pages.show("page", str(example))
    pages.close("page")
    assert example.exists()


def test_pictures_of_the_examples_are_not_taken_for_old_uploads(tmp_path, monkeypatch):
    pytest.importorskip("gradio", reason="the app needs gradio")
    import app
    from dfer_hf.analysis import AnalysisWorkers

    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "stored"))
    demo = app.build_demo(AnalysisWorkers({"model": tmp_path}))
    OpenPages(tmp_path / "stored").delete_old()
    icons = [each["props"].get("icon") for each in demo.config["components"] if each["type"] == "button"]
    pictures = [icon["path"] for icon in icons if icon]
    assert len(pictures) == 8
    assert all(Path(picture).is_file() for picture in pictures)
