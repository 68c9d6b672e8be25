"""What the manual tells people to type works, page by page, in the order of the page."""

import os

import pytest

from .pages import MANUAL, ROOT, blocks_of, name_of
from .shell import Shell

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name != "posix", reason="needs bash and processes that fork")]


def run_page(page, shell):
    """Run the blocks of a page one after another; those of Python share their names."""
    names = {"__name__": "__main__"}
    num_run = 0
    for block in blocks_of(page):
        if block.needs or block.language not in ("python", "bash"):
            continue
        if block.language == "python":
            exec(compile(block.text, f"{page}:{block.line}", "exec"), names)
        else:
            done = shell.run(block.text)
            assert done.returncode == 0, f"{name_of(page)}, line {block.line}:\n{block.text}\n{done.stdout}"
        num_run += 1
    return num_run


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with what a clone has that the blocks name."""
    folder = tmp_path_factory.mktemp("manual")
    for name in ("examples", "training", "model_cards"):
        (folder / name).symlink_to(ROOT / name)
    return folder


@pytest.fixture(scope="module")
def shell(place):
    with Shell(place) as opened:
        yield opened


@pytest.mark.parametrize("page", MANUAL, ids=name_of)
def test_the_blocks_of_a_page_run(page, shell, place, monkeypatch):
    monkeypatch.chdir(place)
    run_page(page, shell)


def test_most_how_tos_have_blocks_that_run():
    how_tos = [page for page in MANUAL if page.parent.name == "how-to"]
    typed = [page for page in how_tos if any(not block.needs and block.language in ("python", "bash")
                                             for block in blocks_of(page))]  # fmt: skip
    assert len(typed) > len(how_tos) / 2


def test_a_block_that_fails_is_told(shell):
    assert shell.run("dfer predict nothing.mp4\necho on").returncode == 2
    assert "nothing.mp4" in shell.run("dfer predict nothing.mp4 || true").stdout
    assert "aen" in shell.run("dfer models | head -40").stdout
