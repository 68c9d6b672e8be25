"""`dfer report`: one page on all files, and one error for each that is bad."""

import shutil
from pathlib import Path

from .test_cli import BAD


def test_one_page_tells_of_every_file_whatever_it_is(dfer, clips):
    files = [clips / name for name in ("short.webm", "still.png", *BAD)]
    code, printed, errors = dfer("report", *files, "--output", "out.html")
    assert (code, printed) == (1, "")
    page = Path("out.html").read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert page.endswith("</html>\n")
    assert page.count("<article>") == 5
    assert page.count("The frames that counted most") == 2
    assert all(f">{name}</h2>" in page and f"{name}: Expected" in errors for name in BAD)
    assert "There is no card with this checkpoint" in page


def test_it_is_called_report_html_and_leaves_nothing_else(dfer, clips):
    assert dfer("report", clips / "still.png") == (0, "", "")
    assert [path.name for path in Path().iterdir()] == ["report.html"]


def test_wrong_use_is_said_and_writes_nothing(dfer, clips):
    shutil.copy(clips / "still.png", "clip.png")
    for arguments, said in (
        (("clip.png", "--output", "clip.png"), "overwrite an input"),
        (("clip.png", "--output", "absent/out.html"), "absent"),
        (("absent.mp4",), "absent.mp4"),
        (("clip.png", "--explain", "gradcam"), "--explain"),
        (("clip.png", "--maps", "maps.npz"), "--maps"),
    ):
        code, printed, errors = dfer("report", *arguments)
        assert (code, printed) == (2, "")
        assert said in errors
    assert [path.name for path in Path().iterdir()] == ["clip.png"]


def test_a_page_can_be_in_german(dfer, clips):
    code, _, errors = dfer("report", clips / "short.webm", clips / BAD[0], "--output", "out.html", "--language", "de")
    assert code == 1
    page = Path("out.html").read_text(encoding="utf-8")
    assert '<html lang="de">' in page
    assert "Die Bilder, die am meisten zählten" in page
    assert "Erwartet wurde" in page
    # Messages of the command stay English.
    assert "Expected" in errors
    assert dfer("report", clips / "short.webm", "--language", "fr")[0] == 2
