import dataclasses

import pytest
import torch
from accelerate.state import AcceleratorState

import dfer_hf
import training.systems.head_start
import training.train
from training.config import HeadStart, load_config
from training.data.movable_faces import movable_ferplus
from training.data.moving_stills import MovingStills
from training.datasets.ferplus import load_ferplus
from training.systems.head_start import FRAMEWISE, store_clips, take_apart, train_on_stored

from ..runs import CLIPS, STILLS, StoppedError, log_of, stop_after

HEAD_START = HeadStart(num_clips=12, num_steps=30, batch_size=8, learning_rate=3e-3)
SYSTEMS = [name.removeprefix("dfer_") for name in FRAMEWISE]
SIZE = 32


@pytest.fixture(scope="module")
def moving(corpus):
    return MovingStills(movable_ferplus(load_ferplus(corpus, "train")))


def build(system):
    torch.manual_seed(0)
    model_class = dfer_hf.systems()[system]
    return model_class(model_class.config_class.from_preset("tiny", num_frames=16, image_size=SIZE))


def store(model, source, num_clips=6):
    generator = torch.Generator().manual_seed(0)
    return store_clips(model, source, num_clips=num_clips, image_size=SIZE, generator=generator, strength=0.5)


@pytest.mark.parametrize("system", SYSTEMS)
def test_what_is_stored_is_what_the_parts_say_of_the_clips(system, moving):
    model = build(system)
    stored = store(model, moving)
    generator = torch.Generator().manual_seed(0)
    indices = torch.multinomial(moving.sampling_weights, 6, replacement=True, generator=generator)
    batch = moving.training_batch(indices, SIZE, generator, strength=0.5)
    torch.testing.assert_close(stored.labels, batch["labels"])
    heard = {}
    for name in FRAMEWISE[f"dfer_{system}"].stored:
        model.get_submodule(name).register_forward_hook(
            lambda _part, _inputs, output, name=name: heard.__setitem__(name, output)
        )
    with torch.no_grad():
        model.eval()(pixel_values_videos=batch["pixel_values_videos"])
    for name, output in heard.items():
        tensors, _ = take_apart(output)
        for kept, tensor in zip(stored.outputs[name], tensors, strict=True):
            if FRAMEWISE[f"dfer_{system}"].pooled:
                tensor = tensor.mean(dim=(2, 3), keepdim=True)
            torch.testing.assert_close(kept.float(), tensor.unflatten(0, (6, -1)), rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_rest_learns_and_the_parts_stay_as_they_are(system, moving):
    model = build(system)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    stored = store(model, moving, num_clips=8)
    config = dataclasses.replace(HEAD_START, num_steps=1, learning_rate=0.0)
    first = train_on_stored(model, stored, config, image_size=SIZE, generator=torch.Generator().manual_seed(2))
    last = train_on_stored(model, stored, HEAD_START, image_size=SIZE, generator=torch.Generator().manual_seed(2))
    assert last < first - 0.05
    parts = FRAMEWISE[f"dfer_{system}"]
    frozen = tuple(f"{name}." for name in (*parts.stored, *parts.skipped))
    for name, tensor in model.state_dict().items():
        if name.startswith(frozen):
            assert torch.equal(tensor, before[name]), name
    changed = [name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])]
    assert any("classifier" in name for name in changed)


def test_a_guide_that_starts_as_the_trunk_is_not_asked_again(moving, monkeypatch):
    model = build("aen")
    model.trunk.load_state_dict(model.guide.trunk.state_dict())
    asked_apart = store(model, moving)
    monkeypatch.setattr(model.guide.trunk, "forward", None)
    asked_once = store(model, moving)
    for name, tensors in asked_apart.outputs.items():
        for one, other in zip(tensors, asked_once.outputs[name], strict=True):
            assert torch.equal(one, other)


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_a_run_gets_its_head_start_once(corpus, tmp_path, monkeypatch, precision):
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", precision)
    AcceleratorState._reset_state(reset_partial_state=True)
    config = dataclasses.replace(
        CLIPS, stages=((SIZE, 2, 0.5),), head_start=dataclasses.replace(HEAD_START, num_clips=4, num_steps=2)
    )
    given = []

    def give(*args, **kwargs):
        given.append(1)
        return train_on_stored(*args, **kwargs)

    monkeypatch.setattr(training.systems.head_start, "train_on_stored", give)
    training.train.train(config, corpus, tmp_path / "whole")
    with monkeypatch.context() as patched:
        stop_after(patched, config.epoch_length // config.batch_size + 1)
        with pytest.raises(StoppedError):
            training.train.train(config, corpus, tmp_path / "parted")
    training.train.train(config, corpus, tmp_path / "parted")
    assert len(given) == 2
    assert log_of(tmp_path / "parted") == log_of(tmp_path / "whole")
    without = dataclasses.replace(config, head_start=None)
    training.train.train(without, corpus, tmp_path / "without")
    assert log_of(tmp_path / "without") != log_of(tmp_path / "whole")


def test_a_head_start_of_a_system_that_sees_no_single_frames_is_refused(corpus, tmp_path):
    config = dataclasses.replace(STILLS, head_start=HEAD_START)
    with pytest.raises(ValueError, match="Expected `head_start` with a system that sees frames one by one"):
        training.train.train(config, corpus, tmp_path)


def test_a_recipe_names_its_head_start(tmp_path):
    path = tmp_path / "recipe.toml"
    base = 'system = "aen"\ndata = "ferplus_clips"\nstages = [[32, 1, 0.5]]\nepoch_length = 4\nbatch_size = 2\n'
    base += "learning_rate = 0.1\n\n[head_start]\nnum_clips = 12\nnum_steps = 30\nbatch_size = 8\n"
    path.write_text(base + "learning_rate = 3e-3\n")
    assert load_config(path).head_start == HEAD_START
    path.write_text(base)
    with pytest.raises(ValueError, match=r"head_start of recipe.toml lacks \['learning_rate'\]"):
        load_config(path)
