"""Pages that people read, README and manual, and what is in them: blocks, commands, links, headings."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
MANUAL = sorted((ROOT / "docs").rglob("*.md"))
PAGES = [README, *MANUAL]
NOT_RUN = re.compile(r"<!-- not run: (.+) -->")
"""On the line above a block that a test cannot run, with what it needs."""

RUN = ("python", "bash")
SHOWN = ("text", "json", "csv", "toml", "yaml")
"""Languages of blocks that nobody types."""


@dataclass(frozen=True)
class Block:
    """A block of code.

    Args:
        page: Which holds it.
        line: Number of its first line.
        language: As the fence says it.
        text: What is in it.
        needs: Why it is not run; empty where it is.
    """

    page: Path
    line: int
    language: str
    text: str
    needs: str = ""


def name_of(page: Path) -> str:
    """A page as people call it."""
    return page.relative_to(ROOT).as_posix()


def blocks_of(page: Path) -> list[Block]:
    """The blocks of code of a page, in order."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        before = text[: match.start()].rstrip("\n").rpartition("\n")[2]
        mark = NOT_RUN.fullmatch(before)
        line = text.count("\n", 0, match.start()) + 2
        found.append(Block(page, line, match[1], match[2], mark[1] if mark else ""))
    return found


def commands_of(text: str) -> list[str]:
    """The command lines of a text: put together where they are broken, without the remarks beside them."""
    lines = re.sub(r"\s*\\\n\s*", " ", text).splitlines()
    starts = re.compile(r"\s*(?:[A-Z_]+=\S+ )*((?:dfer|dfer-train|python|accelerate) .*)")
    found = [match[1] for match in map(starts.match, lines) if match]
    return [re.split(r"\s{3,}|\s(?:\|\|?|&&|>)\s|[;&]$", command.strip())[0] for command in found]


def prose_of(page: Path) -> str:
    """A page without its blocks and without code in lines."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"`[^`\n]+`", "`code`", text)


def links_of(page: Path) -> list[str]:
    """Targets of the links and pictures of a page that lead to files of ours."""
    targets = re.findall(r"\]\(([^)\s]+)\)", prose_of(page))
    return [target for target in targets if not re.match(r"[a-z]+:", target)]


def headings_of(page: Path) -> list[str]:
    """Headings of a page, as text."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    return [re.sub(r"[`*]", "", heading) for heading in re.findall(r"^#{1,6} (.+)$", text, re.MULTILINE)]


def github_anchor(heading: str) -> str:
    """The anchor that GitHub gives to a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def site_anchor(heading: str) -> str:
    """The anchor that Python-Markdown gives to a heading, and so the site."""
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower())
