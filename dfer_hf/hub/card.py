"""Keep the figures in a card the ones that were measured: they are rendered from `results.json`."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..checkpoints import DEFAULT_CHECKPOINT

MARKED = re.compile(r"(<!-- figures -->\n).*?(<!-- /figures -->)", re.DOTALL)
COLUMNS = {"war": "WAR (accuracy)", "uar": "UAR (mean recall)", "macro_f1": "F1 (macro)", "count": "n"}


def scorecard_table(rows: Mapping[str, Mapping[str, Any]], columns: Sequence[str], *, title: str = "") -> list[str]:
    """Turn scorecards, which hold percent, into the lines of a Markdown table.

    Args:
        rows: Scorecards by what was measured.
        columns: Of `COLUMNS`.
        title: Above the names of the rows.
    """
    head = [title, *(COLUMNS[column] for column in columns)]
    cells = [
        [name, *(str(card[column]) if column == "count" else f"{card[column]:.2f}" for column in columns)]
        for name, card in rows.items()
    ]
    return [_line(head), "|" + "---|" * len(head), *map(_line, cells)]


def render_figures(results: dict[str, Any]) -> str:
    """Turn what `training/release/evaluate_shipped.py` wrote into Markdown.

    Args:
        results: Content of a `results.json`.
    """
    stills = results["stills"]
    lines = [
        f"Stills: {results['data']}, one aligned crop each.",
        "",
        *scorecard_table({f"{results['checkpoint']}, frame answers": stills}, ("war", "uar", "count")),
        "",
        f"Recall by class: {_recalls(stills)}.",
    ]
    if "clips_from_stills" in results:
        lines += _clip_lines(results["clips_from_stills"])
    if "portraits" in results:
        portraits = results["portraits"]
        lines += [
            "",
            "Portraits: Face Research Lab London Set (DeBruine and Jones, CC BY 4.0), smiling and neutral, the whole "
            f"way from file to answer; right in {portraits['war']:.2f} % of {portraits['count']}, by class: "
            f"{_recalls(portraits)}.",
        ]
    return "\n".join([*lines, "", f"`{results['command']}`", ""])


def fill_figures(card: str, results: dict[str, Any]) -> str:
    """Put the figures between the marks of a card's text.

    Raises:
        ValueError: If the card has no marks.
    """
    if not MARKED.search(card):
        raise ValueError("Expected `<!-- figures -->` and `<!-- /figures -->` in the card, found none.")
    return MARKED.sub(lambda match: f"{match[1]}{render_figures(results)}{match[2]}", card)


def refresh_cards(repository: Path) -> None:
    """Render the measured figures into every card of `model_cards`, and the default checkpoint's into the README."""
    places = {path: path.with_name("README.md") for path in sorted(repository.glob("model_cards/*/results.json"))}
    default = repository / "model_cards" / DEFAULT_CHECKPOINT / "results.json"
    for measured, card in [*places.items(), (default, repository / "README.md")]:
        results = json.loads(measured.read_text(encoding="utf-8"))
        card.write_text(fill_figures(card.read_text(encoding="utf-8"), results), encoding="utf-8")


def _clip_lines(measured: dict[str, Any]) -> list[str]:
    lines = [
        "",
        "Clips made from every fifth still of that split (16 frames; not real video), whose label may hold for some "
        "frames only:",
        "",
        "| frames off target | system: WAR | UAR | mean of the frame answers: WAR | UAR | n |",
        "|---|---|---|---|---|---|",
    ]
    for name, cards in measured.items():
        system, mean = cards["system"], cards["mean_of_frames"]
        lines.append(
            f"| {name.split()[0]} | {system['war']:.2f} | {system['uar']:.2f} | {mean['war']:.2f} | {mean['uar']:.2f} "
            f"| {system['count']} |"
        )
    weights = [cards["frame_weight"] for cards in measured.values() if "off_target" in cards["frame_weight"]]
    if weights:
        on_target, off_target = weights[-1]["on_target"], weights[-1]["off_target"]
        lines += [
            "",
            f"Mean frame weight there: {on_target:.4f} on target, {off_target:.4f} off target (even: 0.0625).",
        ]
    return lines


def _recalls(scorecard: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value:.1f}" for name, value in scorecard["recall"].items() if value is not None)


def _line(cells: Sequence[str]) -> str:
    return "|" + "".join(f" {cell} |" if cell else " |" for cell in cells)
