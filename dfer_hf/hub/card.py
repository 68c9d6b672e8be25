"""Keep figures in cards and manual the ones that were measured: both are rendered from `results.json`."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .evaluation import markdown_table, render_figures, render_table
from .metadata import with_metadata
from .zoo import render_costs, render_zoo

RESULTS = "results.json"
MARKED = re.compile(r"(<!-- figures -->\n).*?(<!-- /figures -->)", re.DOTALL)
PAGES = {"README.md": ("zoo",), "docs/model-zoo.md": ("zoo", "figures"), "docs/benchmarks.md": ("costs",)}
"""Page of the repository to the marks between which its tables of all checkpoints stand."""

COLUMNS = {"war": "WAR (accuracy)", "uar": "UAR (mean recall)", "macro_f1": "F1 (macro)", "count": "n"}


def scorecard_table(rows: Mapping[str, Mapping[str, Any]], columns: Sequence[str], *, title: str = "") -> list[str]:
    """Turn scorecards, which hold percent, into the lines of a Markdown table.

    Args:
        rows: Scorecards by what was measured.
        columns: Of `COLUMNS`.
        title: Above the names of the rows.
    """
    cells = [
        [name, *(str(card[column]) if column == "count" else f"{card[column]:.2f}" for column in columns)]
        for name, card in rows.items()
    ]
    return markdown_table([title, *(COLUMNS[column] for column in columns)], cells)


def fill_figures(card: str, figures: str, *, mark: str = "figures") -> str:
    """Put figures between the marks of a text.

    Raises:
        ValueError: If the text has no marks.
    """
    marked = re.compile(MARKED.pattern.replace("figures", mark), re.DOTALL)
    if not marked.search(card):
        raise ValueError(f"Expected `<!-- {mark} -->` and `<!-- /{mark} -->` in the text, found none.")
    return marked.sub(lambda match: f"{match[1]}{figures}{match[2]}", card)


def render_card(card: str, results: Mapping[str, Any]) -> str:
    """Put the measured figures into a card, for people and in its metadata, and the licences of its datasets.

    Args:
        card: Its text.
        results: Content of its `results.json`.

    Raises:
        ValueError: If the card has no marks, its metadata is not valid, or the licence of a dataset is not known.
    """
    return with_metadata(fill_figures(card, render_figures(results)), results)


def render_cards(repository: Path) -> dict[Path, str]:
    """Render the measured figures into every card of `model_cards`, and tables of all into the pages of `PAGES`.

    Returns:
        What each file should hold.
    """
    measured = {
        path.with_name("README.md"): json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(repository.glob(f"model_cards/*/{RESULTS}"))
    }
    cards = {card: render_card(card.read_text(encoding="utf-8"), results) for card, results in measured.items()}
    pages = {}
    for name, marks in PAGES.items():
        page = repository / name
        tables = {
            "figures": render_table(list(measured.values())),
            "zoo": render_zoo(measured, root="../" * name.count("/")),
            "costs": render_costs(measured),
        }
        pages[page] = page.read_text(encoding="utf-8")
        for mark in marks:
            pages[page] = fill_figures(pages[page], tables[mark], mark=mark)
    return cards | pages


def refresh_cards(repository: Path) -> None:
    """Write what `render_cards` renders."""
    for path, text in render_cards(repository).items():
        path.write_text(text, encoding="utf-8")
