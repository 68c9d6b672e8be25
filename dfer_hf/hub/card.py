"""Keep figures in cards and README the ones that were measured: both are rendered from `results.json`."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .evaluation import markdown_table, render_figures, render_table
from .metadata import with_metadata

RESULTS = "results.json"
MARKED = re.compile(r"(<!-- figures -->\n).*?(<!-- /figures -->)", re.DOTALL)
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


def fill_figures(card: str, figures: str) -> str:
    """Put figures between the marks of a card's text.

    Raises:
        ValueError: If the card has no marks.
    """
    if not MARKED.search(card):
        raise ValueError("Expected `<!-- figures -->` and `<!-- /figures -->` in the card, found none.")
    return MARKED.sub(lambda match: f"{match[1]}{figures}{match[2]}", card)


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
    """Render the measured figures into every card of `model_cards`, and a table of all into the README.

    Returns:
        What each file should hold.
    """
    measured = {
        path.with_name("README.md"): json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(repository.glob(f"model_cards/*/{RESULTS}"))
    }
    cards = {card: render_card(card.read_text(encoding="utf-8"), results) for card, results in measured.items()}
    readme = repository / "README.md"
    table = render_table(list(measured.values()))
    return {**cards, readme: fill_figures(readme.read_text(encoding="utf-8"), table)}


def refresh_cards(repository: Path) -> None:
    """Write what `render_cards` renders."""
    for path, text in render_cards(repository).items():
        path.write_text(text, encoding="utf-8")
