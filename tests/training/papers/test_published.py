"""The manual's published figures are those of `published.toml`, and ours those of our results."""

import dataclasses
import json
from pathlib import Path

import pytest

from training.config import load_config
from training.papers.published import TITLES, PublishedRow, fill_published, load_rows, render_rows
from training.papers.table_rows import RECIPES, load_table

ROOT = Path(__file__).resolve().parents[3]
ROWS = load_rows()
ROW = PublishedRow(system="AEN", corpus="dfew", recipe="aen_dfew", source="AEN, Table 3", uar=56.66, war=69.37)


def by_name(row):
    return f"{row.system}-{row.corpus}"


def test_the_manual_shows_the_published_rows():
    page = (ROOT / "docs" / "published.md").read_text(encoding="utf-8")
    assert fill_published(page, ROWS) == page


def test_a_file_without_a_place_for_the_rows_is_refused():
    with pytest.raises(ValueError, match="<!-- published -->"):
        fill_published("# A page", ROWS)


def test_the_rest_of_a_file_stays_as_it_is():
    filled = fill_published("before\n<!-- published -->\nstale\n<!-- /published -->\nafter\n", [ROW])
    assert filled.startswith("before\n<!-- published -->\nUAR / WAR")
    assert filled.endswith("<!-- /published -->\nafter\n")
    assert "stale" not in filled


@pytest.mark.parametrize("row", ROWS, ids=by_name)
def test_a_row_names_a_recipe_of_its_corpus(row):
    config = load_config(RECIPES / f"{row.recipe}.toml")
    assert config.data == row.corpus
    assert row.corpus in TITLES
    assert (row.f1 is None) != (row.war is None)
    if row.table:
        assert load_table(row.table).rows[row.table_row - 1].paper["f1"] == row.f1


def test_every_recipe_of_a_corpus_is_listed_or_says_why_not():
    listed = {row.recipe for row in ROWS}
    unlisted = {
        path.stem for path in RECIPES.glob("*.toml") if load_config(path).data in TITLES and path.stem not in listed
    }
    assert unlisted == {
        # Parts of the row of CFC-SP.
        "cfc_sp_aff_wild2_hrnet",
        "cfc_sp_aff_wild2_iresnet",
        "cfc_sp_aff_wild2_repvgg",
        *(f"cfc_sp_aff_wild2_{net}_negative" for net in ("hrnet", "iresnet", "repvgg", "swin")),
        "frame_resnet_dfew",  # no paper prints it
        "m3dfel_ferv39k",  # nor this
    }


def test_rows_are_printed_once():
    assert len({(row.system, row.corpus, row.fold) for row in ROWS}) == len(ROWS)


def test_what_was_not_run_needs_the_corpus():
    [line] = [line for line in render_rows([ROW]).splitlines() if line.startswith("| AEN")]
    assert line == (
        "| AEN | DFEW | 56.66 / 69.37 | AEN, Table 3 | [aen_dfew](../training/recipes/aen_dfew.toml) "
        "| needs the corpus |"
    )


@pytest.mark.parametrize(
    ("row", "results", "shown"),
    [
        (ROW, {"fine": {"uar": 50.123, "war": 60.0, "macro_f1": 1.0}}, "| 50.12 / 60.00 |"),
        (ROW, {"mean": {"uar": 51.0, "war": 61.0}, "fine": {"uar": 0.0, "war": 0.0}}, "| 51.00 / 61.00 |"),
        (
            dataclasses.replace(ROW, uar=None, war=None, f1=46.15),
            {"fine": {"uar": 1.0, "war": 1.0, "macro_f1": 2.0}, "cascade": {"macro_f1": 44.5}},
            "| F1 44.50 |",
        ),
        (
            dataclasses.replace(ROW, uar=None, fold=1),
            {"fine": {"uar": 1.0, "war": 60.0, "macro_f1": 44.5}},
            "| WAR 60.00 |",
        ),
    ],
    ids=["one division", "folds", "f1", "war alone"],
)
def test_our_result_stands_beside_the_printed_one(tmp_path, row, results, shown):
    (tmp_path / "ours.json").write_text(json.dumps(results), encoding="utf-8")
    text = render_rows([dataclasses.replace(row, result="ours.json")], tmp_path)
    assert shown in text
    assert "needs the corpus" not in text


def test_a_result_that_is_missing_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"our result of AEN on dfew in ours\.json, found no such file"):
        render_rows([dataclasses.replace(ROW, result="ours.json")], tmp_path)


def test_notes_are_numbered_in_order():
    text = render_rows([ROW, dataclasses.replace(ROW, note="First."), dataclasses.replace(ROW, note="Second.")])
    assert "56.66 / 69.37 (1) |" in text
    assert "56.66 / 69.37 (2) |" in text
    assert text.endswith("1. First.\n2. Second.\n")
