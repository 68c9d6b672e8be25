import dataclasses
import itertools
from pathlib import Path

import pytest

import dfer_hf
from training.config import TrainConfig, load_config
from training.initialise import build_model
from training.train import build_optimiser, learning_rate_factor

RECIPES = sorted((Path(__file__).parents[2] / "training" / "recipes").glob("*.toml"))
NEEDED = """
system = "frame_resnet"
data = "ferplus_stills"
stages = [[32, 1, 1.0], [48, 2, 0.5]]
epoch_length = 100
batch_size = 8
learning_rate = 0.1
"""


@pytest.fixture
def recipe(tmp_path):
    def write(text):
        path = tmp_path / "recipe.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_shipped_recipes_can_be_built(path):
    config = load_config(path)
    assert config.num_epochs > 0
    assert path.stem.startswith(config.system)
    model = build_model(dataclasses.replace(config, initialise_from=None))
    assert type(model) is dfer_hf.systems()[config.system]
    for name, value in config.model.items():
        assert getattr(model.config, name) == value
        assert name in {entry.name for entry in dataclasses.fields(type(model.config))}
    build_optimiser(model, config)


def test_there_are_recipes():
    assert RECIPES


def test_a_recipe_is_read_as_it_stands(recipe):
    config = load_config(recipe(NEEDED + "seed = 4\n[model]\nhidden_sizes = [1, 2, 3, 4]\n"))
    assert config == TrainConfig(
        system="frame_resnet",
        data="ferplus_stills",
        stages=((32, 1, 1.0), (48, 2, 0.5)),
        epoch_length=100,
        batch_size=8,
        learning_rate=0.1,
        seed=4,
        model={"hidden_sizes": [1, 2, 3, 4]},
    )
    assert config.num_epochs == 3
    assert config.steps_per_epoch == 12
    assert [config.stage(epoch) for epoch in range(3)] == [(32, 1.0), (48, 0.5), (48, 0.5)]
    with pytest.raises(ValueError, match="Expected an epoch below 3"):
        config.stage(3)


def test_unknown_keys_are_refused(recipe):
    with pytest.raises(
        ValueError,
        match=r"recipe.toml has unknown keys \['learning_rat', 'warm'\]; known are .*'learning_rate'",
    ):
        load_config(recipe(NEEDED + "learning_rat = 3\nwarm = 2\n"))


@pytest.mark.parametrize("key", ["system", "data", "stages", "epoch_length", "batch_size", "learning_rate"])
def test_missing_keys_are_named(recipe, key):
    lines = [line for line in NEEDED.splitlines() if not line.startswith(key)]
    with pytest.raises(ValueError, match=rf"recipe.toml lacks \['{key}'\]"):
        load_config(recipe("\n".join(lines)))


def test_an_unknown_system_is_refused(recipe):
    config = dataclasses.replace(load_config(recipe(NEEDED)), system="resnext")
    with pytest.raises(ValueError, match=r"Unknown system 'resnext'; expected one of aen, .*frame_resnet"):
        build_model(config)


def test_an_unknown_optimiser_is_refused(recipe):
    config = dataclasses.replace(
        load_config(recipe(NEEDED)), optimiser="lion", model={"hidden_sizes": [2, 2, 2, 2]}
    )
    with pytest.raises(ValueError, match="Expected `optimiser` to be sgd or adamw, got 'lion'"):
        build_optimiser(build_model(config), config)


def test_the_learning_rate_warms_up_and_falls_along_a_cosine():
    factors = [learning_rate_factor(step, 200, 0.1) for step in range(200)]
    assert factors[0] == pytest.approx(1 / 20)
    assert factors[9] == pytest.approx(0.5)
    assert factors[19] == factors[20] == 1.0
    assert factors[110] == pytest.approx(0.5)
    assert factors[199] == pytest.approx(0, abs=1e-4)
    assert learning_rate_factor(200, 200, 0.1) == pytest.approx(0)
    assert all(later >= earlier for earlier, later in itertools.pairwise(factors[:20]))
    assert all(later < earlier for earlier, later in itertools.pairwise(factors[20:]))


def test_a_run_without_warm_up_starts_at_its_peak():
    assert learning_rate_factor(0, 10, 0.0) == 1.0


@pytest.mark.parametrize("optimiser", ["sgd", "adamw"])
def test_the_optimiser_decays_matrices_and_slows_the_trunk(optimiser):
    config = TrainConfig(
        system="aen",
        data="ferplus_clips",
        stages=((32, 1, 1.0),),
        epoch_length=8,
        batch_size=4,
        learning_rate=0.01,
        weight_decay=0.05,
        optimiser=optimiser,
        trunk_learning_rate_share=0.1,
        model={
            "hidden_sizes": [4, 6, 8, 10],
            "depths": [1, 1, 1, 1],
            "temporal_heads": 2,
            "temporal_head_dim": 4,
        },
    )
    model = build_model(config)
    setting = {}
    for group in build_optimiser(model, config).param_groups:
        for parameter in group["params"]:
            assert parameter not in setting
            setting[parameter] = (group["lr"], group["weight_decay"])
    for name, parameter in model.named_parameters():
        if name.startswith("guide."):
            assert parameter not in setting
            continue
        rate = 0.001 if name.startswith("trunk.") else 0.01
        assert setting[parameter] == (pytest.approx(rate), 0.05 if parameter.ndim > 1 else 0.0), name
