"""What the README tells people to type works; `tests/docs` says the same of the manual, by the same rule."""

import re

import pytest

from .docs.pages import README, ROOT, blocks_of

BLOCKS = [block for block in blocks_of(README) if block.language == "python" and not block.needs]


def test_there_is_an_example():
    assert BLOCKS


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_an_example_runs(block, monkeypatch):
    monkeypatch.chdir(ROOT)
    exec(compile(block.text, "README.md", "exec"), {})


def test_every_file_it_names_exists():
    text = README.read_text(encoding="utf-8")
    named = re.findall(r"\]\(([^)#:]+)\)", text) + re.findall(r"(?:training|examples)/[\w/]+\.\w+", text)
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_it_fits_on_a_screen_or_two_and_leads_to_the_manual():
    text = README.read_text(encoding="utf-8")
    assert text.count("\n") < 110
    assert all(f"docs/{name}.md" in text for name in ("index", "model-zoo", "responsible-use", "published"))
    assert all(target in text for target in ("make demo", "make test"))
