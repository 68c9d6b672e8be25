"""Keep the table of published results, and of ours beside them, in the manual.

`python -m training.papers.published docs/published.md` fills it in.

`published.toml` holds the printed rows. A row that was run names our result beside it: `result`, the `results.json`
that training/evaluate.py wrote for one division, or training/crossval.py for the folds together.
"""

import argparse
import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

from training.config import build_config

REPOSITORY = Path(__file__).resolve().parents[2]
ROWS = Path(__file__).with_name("published.toml")
MARKED = re.compile(r"(<!-- published -->\n).*?(<!-- /published -->)", re.DOTALL)
TITLES = {"dfew": "DFEW", "ferv39k": "FERV39k", "afew": "AFEW", "mafw": "MAFW", "aff_wild2": "Aff-Wild2"}
FIGURES = {"uar": ("fine", "uar"), "war": ("fine", "war"), "f1": ("cascade", "macro_f1")}
"""Column to the place of our figure in `results.json`; F1 is that of CFC-SP's hard choice."""


@dataclass(frozen=True)
class PublishedRow:
    """One printed result.

    Args:
        system: As a reader calls it.
        corpus: Name of the corpus.
        recipe: Recipe that reproduces it, in training/recipes.
        source: Where it is printed.
        uar: In percent, as `war` and `f1`; None where it is not printed.
        war: See `uar`.
        f1: Macro F1; see `uar`.
        fold: Which fold, where it is of one only.
        table: Table of training/papers/ablations whose row trains and measures it, where a recipe alone does not.
        table_row: That row, counted from 1.
        result: Our `results.json`, from the root of the repository; empty where it was not run.
        note: What contradicts it, or what to know.
    """

    system: str
    corpus: str
    recipe: str
    source: str
    uar: float | None = None
    war: float | None = None
    f1: float | None = None
    fold: int | None = None
    table: str = ""
    table_row: int = 0
    result: str = ""
    note: str = ""


def load_rows(path: Path = ROWS) -> list[PublishedRow]:
    """Read the printed rows."""
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    return [
        build_config(PublishedRow, values, f"row {number} of {path.name}")
        for number, values in enumerate(content["rows"], 1)
    ]


def render_rows(rows: list[PublishedRow], repository: Path = REPOSITORY) -> str:
    """Turn rows into Markdown: UAR / WAR, or F1, printed and ours, with notes below."""
    lines = ["| system | corpus | printed | source | recipe | ours |", "|---|---|---|---|---|---|"]
    notes: list[str] = []
    for row in rows:
        mark = ""
        if row.note:
            notes.append(row.note)
            mark = f" ({len(notes)})"
        printed = _figures({name: getattr(row, name) for name in FIGURES})
        cells = [row.system, _corpus(row), printed + mark, row.source, _recipe(row), _ours(row, repository)]
        lines.append("| " + " | ".join(cells) + " |")
    head = (
        "UAR / WAR in percent, macro F1 for Aff-Wild2; DFEW and MAFW are means of five folds where no fold is named."
    )
    return "\n".join([head, "", *lines, "", *(f"{place}. {note}" for place, note in enumerate(notes, 1)), ""])


def fill_published(text: str, rows: list[PublishedRow]) -> str:
    """Put the table between the marks of a text.

    Raises:
        ValueError: If the text has no marks.
    """
    if not MARKED.search(text):
        raise ValueError("Expected `<!-- published -->` and `<!-- /published -->` in the text, found none.")
    return MARKED.sub(lambda match: f"{match[1]}{render_rows(rows)}{match[2]}", text)


def _figures(figures: dict[str, float | None]) -> str:
    if figures["f1"] is not None:
        return f"F1 {figures['f1']:.2f}"
    if figures["uar"] is None:
        return f"WAR {figures['war']:.2f}"
    return f"{figures['uar']:.2f} / {figures['war']:.2f}"


def _corpus(row: PublishedRow) -> str:
    return TITLES[row.corpus] + (f", fold {row.fold}" if row.fold else "")


def _recipe(row: PublishedRow) -> str:
    """Link the recipe or the table as seen from `docs/`."""
    if row.table:
        return f"row {row.table_row} of [{row.table}](../training/papers/ablations/{row.table}.toml)"
    return f"[{row.recipe}](../training/recipes/{row.recipe}.toml)"


def _ours(row: PublishedRow, repository: Path) -> str:
    """Read our figures, which are means over the folds, as the papers print them."""
    if not row.result:
        return "needs the corpus"
    path = repository / row.result
    if not path.is_file():
        raise ValueError(f"Expected our result of {row.system} on {row.corpus} in {row.result}, found no such file.")
    results = json.loads(path.read_text(encoding="utf-8"))

    def ours(name: str) -> float | None:
        if getattr(row, name) is None:
            return None
        part, figure = FIGURES[name]
        return (results.get("mean") or results[part])[figure]

    return _figures({name: ours(name) for name in FIGURES})


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("file", type=Path, nargs="?", help="Markdown file with the marks (default: print the table)")


def main(arguments: argparse.Namespace) -> int:
    """Print the table, or put it into a file."""
    rows = load_rows()
    if arguments.file is None:
        sys.stdout.write(render_rows(rows))
    else:
        text = arguments.file.read_text(encoding="utf-8")
        arguments.file.write_text(fill_published(text, rows), encoding="utf-8")
    return 0


if __name__ == "__main__":
    command_line = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(command_line)
    sys.exit(main(command_line.parse_args()))
