"""What the README tells people to type works."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_there_are_examples():
    assert len(BLOCKS) >= 2


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_an_example_runs(block, monkeypatch):
    monkeypatch.chdir(ROOT)
    exec(compile(block, "README.md", "exec"), {})


def test_every_file_it_names_exists():
    named = re.findall(r"\]\(([^)#:]+)\)", README) + re.findall(r"(?:training|examples)/[\w/]+\.\w+", README)
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []
