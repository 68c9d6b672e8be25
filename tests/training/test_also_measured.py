import dataclasses

import pytest
from transformers import AutoModelForVideoClassification

import training.train
from training.config import Sampling, TrainConfig

from .corpora import name_colours
from .runs import log_of

CONFIG = TrainConfig(
    system="nr_dfernet",
    preset="tiny",
    data="colours",
    stages=((64, 2, 1.0),),
    batch_size=4,
    epoch_length=4,
    learning_rate=0.01,
    sampling=Sampling(num_segments=4, frames_per_segment=1),
    validation_share=0.25,
    # Every snippet is confident and none is neutral, so that the filter removes the neutral class from every clip.
    model={"snippet_confidence": 0.0, "snippet_neutrality": 1.0},
    also_measured={"without_filter": {"snippet_filter": False}},
)


@pytest.fixture
def places(tmp_path, monkeypatch):
    return name_colours(monkeypatch, tmp_path) | {"output": tmp_path / "run"}


def test_each_epoch_is_measured_with_and_without_the_filter(places, monkeypatch):
    """NR-DFERNet's Fig. 4: what the filter gains, epoch by epoch."""
    seen = []
    measure = training.train.measure

    def watch(model, *rest):
        seen.append(model.config.snippet_filter)
        return measure(model, *rest)

    monkeypatch.setattr(training.train, "measure", watch)
    training.train.train(CONFIG, **places)
    rows = log_of(places["output"])
    assert seen == [True, False] * 2
    assert all({"war", "war_without_filter", "uar_without_filter", "f1_without_filter"} <= set(row) for row in rows)
    # The checkpoint decides as the recipe says.
    assert AutoModelForVideoClassification.from_pretrained(places["output"] / "checkpoint").config.snippet_filter


def test_fields_that_the_system_does_not_have_are_named(places):
    config = dataclasses.replace(CONFIG, also_measured={"softer": {"softness": 1}})
    with pytest.raises(ValueError, match="Expected fields of NrDfernetConfig in `also_measured`, got softness"):
        training.train.train(config, **places)
