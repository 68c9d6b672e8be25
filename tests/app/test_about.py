"""The About tab: figures as they were measured, sentences as the manual has them, and German."""

import json
import re
from html import unescape
from pathlib import Path

import pytest

from dfer_hf.checkpoints import shipped_checkpoints
from dfer_hf.registration import system_configs

from .test_language import is_known, sentences

pytest.importorskip("gradio", reason="the app needs gradio")

import app
from dfer_hf.analysis import AnalysisWorkers
from page import about

MANUAL = Path(app.__file__).parent / "docs" / "responsible-use.md"


@pytest.fixture(scope="module")
def shipped():
    checkpoints = shipped_checkpoints()
    if not checkpoints:
        pytest.skip("no checkpoint is part of this installation")
    return checkpoints


def test_every_system_is_told_of():
    assert set(about.SYSTEMS) == {config.model_type for config in system_configs().values()}


def test_what_is_said_of_responsible_use_stands_in_the_manual():
    manual = " ".join(re.sub(r"\*", "", MANUAL.read_text(encoding="utf-8")).split())
    said = [*about.LIMITS, *about.BEFORE, *about.FILES]
    assert [sentence for sentence in said if sentence not in manual] == []


def test_figures_and_data_are_those_that_came_with_the_checkpoints(shipped):
    shown = about.about_html(list(shipped))
    for name, folder in shipped.items():
        results = json.loads((folder / "results.json").read_text(encoding="utf-8"))["benches"]
        (recall,) = re.findall(rf'<th scope="row">{name}</th>((?:<td>\d+</td>)+)</tr>', shown)
        aligned = results["ferplus"]["aligned"]
        assert [int(share) for share in re.findall(r"\d+", recall)] == [
            round(share) for share in aligned["recall"].values()
        ]
        (row,) = re.findall(rf'<th scope="row">{name}</th>(<td>[\d.]+ M</td>.*?)</tr>', shown)
        assert f"<td>{aligned['uar']:.1f}</td>" in row
        words = re.search(rf">{name}</span>.*?</summary>.*?<p>(.*?)</p>", shown)
        assert words is not None
        assert len(words[1]) > 100


def test_only_the_models_of_the_page_are_told_of(shipped):
    first, *others = shipped
    shown = about.about_html([first, "a-model-of-my-own"])
    assert f">{first}</span>" in shown
    assert all(f">{name}</span>" not in shown for name in others)
    assert "<details" not in about.about_html(["a-model-of-my-own"])


def test_all_but_names_and_cards_has_a_german_text(shipped):
    shown = about.about_html(list(shipped))
    said = [*sentences(shown), *re.findall(r'(?<=aria-label=")[^"]+', unescape(shown))]
    assert len(said) > 40
    assert [sentence for sentence in said if not is_known(sentence)] == []


@pytest.mark.parametrize("most", [0, 1])
def test_a_page_that_watches_no_camera_shows_no_tab_for_one(most, tmp_path):
    demo = app.build_demo(AnalysisWorkers({"model": tmp_path}), app.Settings(max_cameras=most))
    tabs = {each["props"]["id"]: each["props"] for each in demo.config["components"] if each["type"] == "tabitem"}
    assert tabs["live"]["visible"] is (most > 0)
    assert tabs["about"]["visible"]
