"""What belongs to a page is deleted with it, and nothing else ever is."""

import os
import time
from contextlib import suppress
from pathlib import Path

import pytest

from dfer_hf import open_pages
from dfer_hf.open_pages import OpenPages

from .visits import files_in


def test_leftovers_are_deleted_within_the_promised_hour():
    assert open_pages.DELETE_EVERY + open_pages.DELETE_AGE <= 3600


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
