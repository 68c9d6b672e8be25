"""Keep the figures in cards and README the ones that were measured: they are rendered from `results.json`."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .evaluation import markdown_table, render_figures, render_table

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


def render_cards(repository: Path) -> dict[Path, str]:
    """Render the measured figures into every card of `model_cards`, and a table of all into the README.

    Returns:
        What each file should hold.
    """
    measured = {
        path.with_name("README.md"): json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(repository.glob("model_cards/*/results.json"))
    }
    figures = {card: render_figures(results) for card, results in measured.items()}
    figures[repository / "README.md"] = render_table(list(measured.values()))
    return {path: fill_figures(path.read_text(encoding="utf-8"), text) for path, text in figures.items()}


def refresh_cards(repository: Path) -> None:
    """Write what `render_cards` renders."""
    for path, text in render_cards(repository).items():
        path.write_text(text, encoding="utf-8")
