"""Figures in cards, README and manual are those that were measured."""

import json
import re
from pathlib import Path

import pytest

from dfer_hf.hub.card import PAGES, fill_figures, refresh_cards, render_cards
from dfer_hf.hub.evaluation import render_figures, render_table

from .conftest import RESULTS

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = sorted(path.parent for path in (ROOT / "model_cards").glob("*/results.json"))


def test_every_checkpoint_with_weights_has_a_card_and_figures():
    weighted = sorted(path.parent for path in (ROOT / "model_cards").glob("*/model.safetensors"))
    assert weighted
    assert weighted == FOLDERS
    assert all((folder / "README.md").is_file() for folder in weighted)


def test_cards_and_manual_show_the_figures_that_were_measured():
    stale = [str(path.relative_to(ROOT)) for path, text in render_cards(ROOT).items()
             if path.read_text(encoding="utf-8") != text]  # fmt: skip
    assert not stale, f"run `make cards`: {stale}"


def test_a_changed_figure_makes_cards_and_pages_stale(tmp_path):
    folder = tmp_path / "model_cards" / "tiny"
    folder.mkdir(parents=True)
    (tmp_path / "docs").mkdir()
    for name, marks in {"model_cards/tiny/README.md": ("figures",), **PAGES}.items():
        marked = "".join(f"<!-- {mark} -->\n<!-- /{mark} -->\n" for mark in marks)
        (tmp_path / name).write_text(f"# A\n{marked}", encoding="utf-8")
    (folder / "results.json").write_text(json.dumps(RESULTS), encoding="utf-8")
    refresh_cards(tmp_path)
    written = {path: path.read_text(encoding="utf-8") for path in render_cards(tmp_path)}
    assert render_cards(tmp_path) == written
    changed = json.loads(json.dumps(RESULTS).replace("61.04", "62.04").replace("900", "901"))
    (folder / "results.json").write_text(json.dumps(changed), encoding="utf-8")
    assert all(text != written[path] for path, text in render_cards(tmp_path).items())


def test_figures_stand_in_the_card_with_their_intervals():
    shown = render_figures(RESULTS)
    assert "| FER+ valid, aligned by exact points | 61.0 (55.0 to 66.0) | 70.0 (65.0 to 75.0) | 70 | 2 |" in shown
    assert "| 50 % | 61.0 (55.0 to 66.0) | 55.0 | 54.0 | +7.0 (-1.0 to +9.0) | 120.0, - | 70 |" in shown
    assert "| FER+ valid, aligned | 3.2 | 89.9 (85.0 to 94.0) | 1.23 | 20.0 | 35 |" in shown
    assert "covered 60.0 (51.0)" in shown
    explained = "0.600 | 0.200 | 0.400 (0.300 to 0.500) | 0.100 (0.000 to 0.200) | yes"
    assert f"| layercam | {explained} | 0.20 | |" in shown
    assert f"| own weights | {explained} | | 0.40 |" in shown
    assert "muxspace" not in shown


def test_the_table_has_a_row_for_each_checkpoint_and_dashes_for_what_was_not_measured():
    bare = {"checkpoint": "bare", "benches": {}}
    rows = render_table([RESULTS, bare]).splitlines()
    assert rows[2] == (
        "| tiny | 61.0 / 70.0 | - / - | - | -, - | 61.0 | 61.0 | +7.0 | - / - | 3.2, 3.2 | 89.9, 89.9 | 0.40 / 0.10 "
        "| 0.40 / 0.10 | 2.0 | 19.6 |"
    )
    assert rows[3] == "| bare | - / - | - / - | - | -, - | - | - | - | - / - | -, - | -, - | - | - | - | - |"


def test_a_card_without_a_place_for_figures_is_refused():
    with pytest.raises(ValueError, match="figures"):
        fill_figures("# A card", "")


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_card_names_its_limits(folder):
    card = re.sub(r"\s+", " ", (folder / "README.md").read_text(encoding="utf-8"))
    assert "An expression is not an emotion" in card
    assert "Article 5(1)(f)" in card
