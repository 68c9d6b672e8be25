"""The metadata of cards is what the Hub's own client reads as valid, and says what was measured."""

import json

import pytest
import yaml
from huggingface_hub import ModelCard, ModelCardData
from huggingface_hub.repocard_data import eval_results_to_model_index, model_index_to_eval_results

from dfer_hf.hub.card import render_card
from dfer_hf.hub.metadata import SOURCES, address_card

from .test_card import FOLDERS, RESULTS

CARD = """---
license: apache-2.0
datasets: [fer2013, ict_facekit]
base_model: [dfer-first, google/second]
---
# A card

See [the first](../dfer-first/README.md) and [a page](docs/page.md).

<!-- licences -->
<!-- /licences -->
<!-- figures -->
<!-- /figures -->
"""


@pytest.fixture(params=FOLDERS, ids=lambda folder: folder.name)
def shipped(request):
    """Folder and parsed card of a checkpoint that ships; a card that is not valid does not parse."""
    return request.param, ModelCard((request.param / "README.md").read_text(encoding="utf-8"))


def test_metadata_of_a_shipped_card_is_valid_and_whole(shipped):
    folder, card = shipped
    written = yaml.safe_load(card.content.split("---\n")[1])
    assert ModelCardData(**written).to_dict() == written
    name, results = model_index_to_eval_results(written["model-index"])
    assert name == folder.name
    assert eval_results_to_model_index(name, results) == written["model-index"]
    data = card.data
    assert (data.license, data.library_name, data.pipeline_tag) == (
        "apache-2.0",
        "transformers",
        "video-classification",
    )
    assert set(data.datasets) <= SOURCES.keys()
    assert all((folder.parent / name).is_dir() for name in [data.base_model] if name)


def test_the_model_index_is_what_was_measured(shipped):
    folder, card = shipped
    benches = json.loads((folder / "results.json").read_text(encoding="utf-8"))["benches"]
    found = {(entry.dataset_type, entry.dataset_config, entry.metric_type): entry for entry in card.data.eval_results}
    assert found["ferplus", "aligned", "accuracy"].metric_value == round(benches["ferplus"]["aligned"]["war"] / 100, 4)
    assert found["muxspace", "found", "recall"].metric_value == round(benches["muxspace"]["uar"] / 100, 4)
    assert all(0 <= entry.metric_value <= 1 for entry in found.values())


def test_a_shipped_card_names_licences_carbon_and_cost(shipped):
    text = shipped[1].text.partition("## Licences, carbon and cost\n")[2].partition("\n## ")[0]
    assert all(SOURCES[name][0] in text for name in shipped[1].data.datasets)
    assert "carbon" in text
    assert "Cost: " in text


def test_rendering_twice_changes_nothing():
    once = render_card(CARD, RESULTS)
    assert render_card(once, RESULTS) == once
    assert "| ICT-FaceKit (Li et al. 2020), rendered faces | MIT |" in once


def test_results_without_a_bench_leave_no_index():
    bare = render_card(CARD, {"checkpoint": "tiny", "command": "", "versions": {}, "benches": {}})
    assert "model-index" not in bare


def test_a_dataset_whose_licence_is_not_known_is_refused():
    with pytest.raises(ValueError, match=r"whose licence is known.*got lfw"):
        render_card(CARD.replace("fer2013", "lfw"), RESULTS)


def test_a_card_is_addressed_to_its_namespace():
    card = ModelCard(address_card(CARD, "me/tiny"))
    assert card.data.base_model == ["me/dfer-first", "google/second"]
    assert "[the first](https://huggingface.co/me/dfer-first) and [a page](docs/page.md)" in card.text


def test_metadata_that_is_not_valid_is_refused():
    with pytest.raises(ValueError, match="model_index"):
        render_card(CARD.replace("license:", "model-index: [{results: 3}]\nlicense:"), RESULTS)
