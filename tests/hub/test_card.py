"""Figures in cards and in the README are those that were measured."""

import json
import re
from pathlib import Path

import pytest

from dfer_hf.checkpoints import DEFAULT_CHECKPOINT
from dfer_hf.hub.card import fill_figures, render_figures

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = sorted(path.parent for path in (ROOT / "model_cards").glob("*/results.json"))


def test_every_checkpoint_with_weights_has_a_card_and_figures():
    weighted = sorted(path.parent for path in (ROOT / "model_cards").glob("*/model.safetensors"))
    assert weighted
    assert weighted == FOLDERS
    assert all((folder / "README.md").is_file() for folder in weighted)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_the_card_shows_the_figures_of_its_results(folder):
    card = (folder / "README.md").read_text(encoding="utf-8")
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    assert fill_figures(card, results) == card


def test_the_readme_shows_the_figures_of_the_default_checkpoint():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    results = json.loads((ROOT / "model_cards" / DEFAULT_CHECKPOINT / "results.json").read_text(encoding="utf-8"))
    assert render_figures(results).strip() in readme


def test_a_card_without_a_place_for_figures_is_refused():
    with pytest.raises(ValueError, match="figures"):
        fill_figures("# A card", {})


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_card_names_its_limits(folder):
    card = re.sub(r"\s+", " ", (folder / "README.md").read_text(encoding="utf-8"))
    assert "An expression is not an emotion" in card
    assert "Article 5(1)(f)" in card
