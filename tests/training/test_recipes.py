import dataclasses
from pathlib import Path

import pytest
import torch

import dfer_hf
from dfer_hf.models.configuration_cfc_sp import EIGHT_LABELS
from dfer_hf.taxonomy import SEVEN_EMOTIONS, Emotion
from training.config import Crops, TrainConfig, load_config
from training.engine.lr_schedules import learning_rate_factor
from training.engine.optim import build_optimiser
from training.engine.pretrained import build_model

FOLDER = Path(__file__).parents[2] / "training" / "recipes"
RECIPES = sorted(FOLDER.glob("*.toml"))
FERPLUS = ("ferplus_stills", "ferplus_clips", "moving_ferplus", "faces", "moving_faces")
ELEVEN = (
    Emotion.ANGER, Emotion.DISGUST, Emotion.FEAR, Emotion.HAPPINESS, Emotion.NEUTRAL, Emotion.SADNESS,
    Emotion.SURPRISE, Emotion.CONTEMPT, Emotion.ANXIETY, Emotion.HELPLESSNESS, Emotion.DISAPPOINTMENT,
)  # fmt: skip
LABELS = {
    **dict.fromkeys((*FERPLUS, "dfew", "ferv39k", "afew", "raf_db"), SEVEN_EMOTIONS),
    "mafw": ELEVEN,
    "aff_wild2": tuple(Emotion(label) for label in EIGHT_LABELS),
}
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
    assert config.data in LABELS
    assert config.data.replace("ferplus_stills", "ferplus") in path.stem
    labels = tuple(config.classes) or LABELS[config.data]
    with torch.device("meta"):
        model, taken = build_model(dataclasses.replace(config, initialise_from=()), labels)
    assert taken == []
    assert type(model) is dfer_hf.systems()[config.system]
    assert model.config.label_names == [str(label) for label in labels]
    assert {name for members in config.classes.values() for name in members} <= set(map(str, LABELS[config.data]))
    for name, value in config.model.items():
        assert getattr(model.config, name) == value
        assert name in {entry.name for entry in dataclasses.fields(type(model.config))}
    build_optimiser(model, config)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_shipped_recipes_give_the_system_as_many_frames_and_pixels_as_it_wants(path):
    config = load_config(path)
    classes = {"id2label": dict(enumerate(config.classes))} if config.classes else {}
    fields = dfer_hf.systems()[config.system].config_class.from_preset(config.preset, **classes | config.model)
    assert {size for size, _, _ in config.stages} <= {64, fields.image_size}
    # Cut by their own code, and frame by frame.
    if config.data not in (*FERPLUS, "aff_wild2"):
        assert config.sampling.num_segments * config.sampling.frames_per_segment == fields.num_frames


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_shipped_schedules_rise_and_fall_within_the_run(path):
    config = load_config(path)
    factors = [
        learning_rate_factor(config.schedule, step, num_epochs=config.num_epochs, steps_per_epoch=10)
        for step in range(10 * config.num_epochs)
    ]
    assert max(factors) == pytest.approx(1, rel=0.01)
    assert all(factor > 0 for factor in factors[2 * config.schedule.delay :])
    assert all(milestone < config.num_epochs for milestone in config.schedule.milestones)


@pytest.mark.parametrize(
    "path", [path for path in RECIPES if "runs/" in path.read_text(encoding="utf-8")], ids=lambda path: path.stem
)
def test_runs_that_others_start_from_have_a_recipe_of_the_same_pixels(path):
    config = load_config(path)
    for source in config.initialise_from:
        if not source.startswith("runs/"):
            continue
        _, run, checkpoint = source.split("/")
        assert checkpoint == "checkpoint"
        giver = load_config(path.with_name(run.removesuffix("_1") + ".toml"))
        assert giver.system == config.system or giver.system == "frame_resnet"
        assert giver.normalisation == config.normalisation
        assert (
            giver.crops == config.crops
            or {"alignment", "detector"} <= {*config.starts_otherwise}
            or (giver.crops.alignment == config.crops.alignment)
        )
        assert LABELS[giver.data] == LABELS[config.data]
        assert giver.system != config.system or giver.model == config.model
        # The first of DFEW's folds.
        assert (giver.data == "dfew") == run.endswith("_1")


@pytest.mark.parametrize(
    ("recipe", "epochs", "batch_size", "learning_rate", "frames"),
    [
        ("former_dfer_dfew", 100, 32, 0.01, (8, 2)),  # zengqunzhao/Former-DFER at 1b5ad6f, main_DFEW.py
        ("former_dfer_afew", 20, 32, 0.001, (8, 2)),  # main_AFEW.py there
        ("aen_dfew", 100, 32, 0.01, (8, 2)),  # Sec. 4.3: Former-DFER's
        ("nr_dfernet_dfew", 70, 32, 0.001, (8, 2)),  # Sec. 4.2
        ("nr_dfernet_afew", 30, 32, 0.0003, (8, 2)),  # Sec. 4.2
        ("keypoint_gcn_dfew", 80, 64, 0.001, (8, 2)),  # Sec. 4.2
        ("m3dfel_dfew", 300, 256, 5e-4, (16, 1)),  # Sec. 4.3
        # youqingxiaozhua/ABAW3 at 51ab58a, thousands of steps.
        ("cfc_sp_aff_wild2_swin", 20, 128, 5e-4, (1, 1)),
        ("cfc_sp_aff_wild2_iresnet", 15, 128, 0.005, (1, 1)),
        ("cfc_sp_aff_wild2_hrnet", 10, 128, 0.01, (1, 1)),
        ("cfc_sp_aff_wild2_repvgg", 10, 128, 0.005, (1, 1)),
        ("cfc_sp_aff_wild2_repvgg_negative", 10, 128, 0.005, (1, 1)),
    ],
)
def test_recipes_say_what_the_papers_print(recipe, epochs, batch_size, learning_rate, frames):
    config = load_config(FOLDER / f"{recipe}.toml")
    assert (config.num_epochs, config.batch_size, config.learning_rate) == (epochs, batch_size, learning_rate)
    assert (config.sampling.num_segments, config.sampling.frames_per_segment) == frames


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
    assert [config.stage(epoch) for epoch in range(3)] == [(32, 1.0), (48, 0.5), (48, 0.5)]
    with pytest.raises(ValueError, match="Expected an epoch below 3"):
        config.stage(3)


def test_unknown_keys_are_refused(recipe):
    with pytest.raises(
        ValueError, match=r"recipe.toml has unknown keys \['learning_rat', 'warm'\]; known are .*'learning_rate'"
    ):
        load_config(recipe(NEEDED + "learning_rat = 3\nwarm = 2\n"))


@pytest.mark.parametrize("key", ["system", "data", "stages", "batch_size", "learning_rate"])
def test_missing_keys_are_named(recipe, key):
    lines = [line for line in NEEDED.splitlines() if not line.startswith(key)]
    with pytest.raises(ValueError, match=rf"recipe.toml lacks \['{key}'\]"):
        load_config(recipe("\n".join(lines)))


def test_an_unknown_system_is_refused(recipe):
    config = dataclasses.replace(load_config(recipe(NEEDED)), system="resnext")
    with pytest.raises(ValueError, match=r"Unknown system 'resnext'; expected one of aen, .*frame_resnet"):
        build_model(config, SEVEN_EMOTIONS)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('optimiser = "lion"', "Expected `optimiser` to be one of sgd, adam, adamw, got 'lion'"),
        ('select = "best"', "Expected `select` to be one of validation, test, last, got 'best'"),
        ("accumulation = 1.5", "Expected int for accumulation of recipe.toml, got 1.5"),
        ("betas = [0.9]", r"Expected 2 values for betas of recipe.toml, got \[0.9\]"),
        ("schedule = 3", "Expected a table for schedule of recipe.toml, got 3"),
        ("[schedule]\nkinds = 3", r"schedule of recipe.toml has unknown keys \['kinds'\]; known are"),
        (
            "[head_start]\nnum_steps = 3",
            r"head_start of recipe.toml lacks \['batch_size', 'learning_rate', 'num_clips'\]",
        ),
        ("seed = = 3", "recipe.toml is not TOML"),
    ],
    ids=lambda value: value.split(" ")[0],
)
def test_what_a_recipe_may_not_say_is_refused(recipe, line, message):
    with pytest.raises(ValueError, match=message):
        load_config(recipe(NEEDED + line))


PUBLISHED_CODE = ("former_dfer", "aen", "nr_dfernet", "m3dfel", "frame_resnet", "r3d", "resnet_rnn")


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipes_after_published_code_cut_parts_out_of_the_releases_own_crops(path):
    config = load_config(path)
    follows = config.system in PUBLISHED_CODE
    wanted = Crops("corpus", 224) if follows and config.data in ("dfew", "ferv39k") else None
    assert config.crops == (Crops("corpus", 112) if config.data == "raf_db" else wanted)
    # Former-DFER's code and IAL's, whose settings the others take over; M3DFEL's keeps short clips.
    is_video = config.data in ("dfew", "ferv39k", "afew", "mafw")
    assert config.minimum_frames == (16 if follows and is_video and config.system != "m3dfel" else 0)


@pytest.mark.parametrize("net", ["swin", "iresnet", "hrnet", "repvgg"])
def test_the_two_tasks_of_cfc_sp_differ_in_their_classes_alone(net):
    coarse, negative = (load_config(FOLDER / f"cfc_sp_aff_wild2_{name}.toml") for name in (net, f"{net}_negative"))
    assert coarse.classes["negative"] == list(negative.classes)
    assert sum(map(len, coarse.classes.values())) == 8
    groups = {name: [name] for name in negative.classes}
    assert negative.model == coarse.model | {"groups": groups}
    assert dataclasses.replace(negative, classes=coarse.classes, model=coarse.model) == coarse


def test_swins_relative_positions_norms_and_biases_do_not_decay():
    config = load_config(FOLDER / "cfc_sp_aff_wild2_swin.toml")
    config = dataclasses.replace(config, preset="tiny", model={"coarse_nets": ["swin"]})
    model, _ = build_model(config, tuple(config.classes))
    decay = {
        parameter: group["weight_decay"]
        for group in build_optimiser(model, config).param_groups
        for parameter in group["params"]
    }
    for name, parameter in model.named_parameters():
        is_free = name.endswith(("relative_position_bias_table", "bias")) or "norm" in name
        assert decay[parameter] == (0.0 if is_free else 0.05), name


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
        model={"hidden_sizes": [4, 6, 8, 10], "depths": [1, 1, 1, 1], "temporal_heads": 2, "temporal_head_dim": 4},
    )
    model, _ = build_model(config, SEVEN_EMOTIONS)
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


def test_the_trunks_of_both_kinds_of_nets_of_cfc_sp_are_slowed():
    config = load_config(FOLDER / "cfc_sp_small_faces.toml")
    model, _ = build_model(dataclasses.replace(config, preset="tiny"), SEVEN_EMOTIONS)
    rates = {
        parameter: group["lr"]
        for group in build_optimiser(model, config).param_groups
        for parameter in group["params"]
    }
    for name, parameter in model.named_parameters():
        share = (
            config.trunk_learning_rate_share if name.startswith(("coarse_nets.0.trunk.", "fine_nets.0.trunk.")) else 1
        )
        assert rates[parameter] == pytest.approx(config.learning_rate * share), name
