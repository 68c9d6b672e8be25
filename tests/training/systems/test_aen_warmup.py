import dataclasses

import pytest
import torch
from accelerate.state import AcceleratorState

import training.systems.aen_warmup
import training.train
from dfer_hf.models.configuration_aen import AenConfig
from dfer_hf.models.modeling_aen import AenForVideoClassification
from training.config import AenWarmup, load_config
from training.data.clips_from_stills import StillClips
from training.data.movable_faces import movable_ferplus
from training.data.moving_stills import MovingStills
from training.data.sources import NEUTRAL
from training.data.still_dataset import StillSource
from training.datasets.ferplus import load_ferplus
from training.systems.aen_warmup import StoredClips, StoredViews, warm_up

from ..runs import CLIPS, STILLS, StoppedError, log_of, stop_after

WARMUP = AenWarmup(num_steps=40, batch_size=32, num_views=2, learning_rate=3e-3)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return AenForVideoClassification(AenConfig(**CLIPS.model))


@pytest.fixture(scope="module")
def clips(corpus):
    return StillClips(StillSource(load_ferplus(corpus, "train")), neutral_label=NEUTRAL)


def store(model, clips, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return StoredViews(model, clips, image_size=32, num_views=2, generator=generator, strength=0.5)


def test_stored_views_are_what_trunk_and_guide_say_of_them(model, clips):
    views = store(model, clips)
    assert [level.shape for level in views.levels] == [(42, 3, 6), (42, 3, 8), (42, 3, 10)]
    assert views.frame_logits.shape == (42, 3, 7)
    pixels = views._views(torch.arange(42), 32, torch.Generator().manual_seed(0), 0.5)
    for stored, level_map in zip(views.levels, model.eval().trunk(pixels).feature_maps, strict=True):
        torch.testing.assert_close(
            stored.float(), level_map.mean(dim=(2, 3)).unflatten(0, (42, 3)), rtol=2e-3, atol=2e-3
        )
    again = store(model, clips)
    assert torch.equal(views.frame_logits, again.frame_logits)
    assert not torch.equal(views.frame_logits, store(model, clips, seed=1).frame_logits)


def test_the_last_stored_view_is_covered(model, clips):
    pixels = store(model, clips)._views(torch.arange(42), 32, torch.Generator().manual_seed(0), 0.5)
    middle = pixels.unflatten(0, (42, 3))[:, :, 0, 10:22, 10:22].std(dim=(2, 3))
    assert (middle[:, 2] < 0.9 * middle[:, :2].amin(dim=1)).float().mean() > 0.8


def test_a_clip_of_stored_views_shows_its_still_and_covers_what_the_script_covers(model, clips):
    views = store(model, clips)
    indices = torch.arange(42)
    maps, frame_logits, votes = views.batch(indices, torch.Generator().manual_seed(3))
    shown, covered, off_target = clips.script(indices, torch.Generator().manual_seed(3))
    assert [level.shape for level in maps] == [(42 * 16, size, 1, 1) for size in (6, 8, 10)]
    assert torch.equal(votes, clips.stills.votes)
    assert covered.any()
    assert off_target.any()
    same = (frame_logits[:, :, None] == views.frame_logits[shown]).all(dim=-1)  # (clips, frames, views)
    assert same[covered][:, 2].all()
    assert same[~covered][:, :2].any(dim=1).all()
    assert len(same[~covered].float().argmax(dim=1).unique()) == 2


def test_the_warm_up_trains_everything_but_trunk_and_guide(model, clips):
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    views = store(model, clips)

    def loss():
        torch.manual_seed(1)
        maps, frame_logits, votes = views.batch(torch.arange(42), torch.Generator().manual_seed(9))
        with torch.no_grad():
            return model.eval().answer_levels(maps, frame_logits, votes).loss.item()

    first = loss()
    last_losses = warm_up(model, views, WARMUP, generator=torch.Generator().manual_seed(2))
    assert loss() < first - 0.3
    assert last_losses < first - 0.3
    for name, tensor in model.state_dict().items():
        stands_still = name.startswith(("trunk.", "guide."))
        assert torch.equal(tensor, before[name]) == stands_still, name


@pytest.mark.parametrize("is_shared", [False, True])
def test_stored_clips_are_what_trunk_and_guide_say_of_moving_stills(model, corpus, is_shared):
    if is_shared:
        model.trunk.load_state_dict(model.guide.trunk.state_dict())
    clips = MovingStills(movable_ferplus(load_ferplus(corpus, "train")))
    stored = StoredClips(
        model, clips, image_size=32, num_clips=5, generator=torch.Generator().manual_seed(0), strength=0.5
    )
    generator = torch.Generator().manual_seed(0)
    indices = torch.multinomial(clips.sampling_weights, 5, replacement=True, generator=generator)
    batch = clips.training_batch(indices, 32, generator, strength=0.5)
    maps, frame_logits, votes = stored.draw(20, torch.Generator().manual_seed(1))
    model.config.image_size = 32
    with torch.no_grad():
        direct = model(batch["pixel_values_videos"])
        answers = model.answer_levels(maps, frame_logits)
    forwards, backwards = direct.frame_logits, direct.frame_logits.flip(1)
    directions = set()
    for seen, vote, logits in zip(frame_logits, votes, answers.logits, strict=True):
        which = torch.cat([(row - seen).abs().amax(dim=(1, 2)) for row in (forwards, backwards)]).argmin().item()
        torch.testing.assert_close(torch.cat([forwards, backwards])[which], seen)
        assert torch.equal(vote, batch["labels"][which % 5])
        if which < 5:
            torch.testing.assert_close(logits, direct.logits[which])
        directions.add(which // 5)
    assert directions == {0, 1}


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_a_run_is_warmed_up_once(corpus, tmp_path, monkeypatch, precision):
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", precision)
    AcceleratorState._reset_state(reset_partial_state=True)
    config = dataclasses.replace(CLIPS, stages=((32, 2, 0.5),), aen_warmup=dataclasses.replace(WARMUP, num_steps=2))
    given = []

    def give(*args, **kwargs):
        given.append(1)
        return warm_up(*args, **kwargs)

    monkeypatch.setattr(training.systems.aen_warmup, "warm_up", give)
    training.train.train(config, corpus, tmp_path / "whole")
    with monkeypatch.context() as patched:
        stop_after(patched, config.epoch_length // config.batch_size + 1)
        with pytest.raises(StoppedError):
            training.train.train(config, corpus, tmp_path / "parted")
    training.train.train(config, corpus, tmp_path / "parted")
    assert len(given) == 2
    assert log_of(tmp_path / "parted") == log_of(tmp_path / "whole")
    without = dataclasses.replace(config, aen_warmup=None)
    training.train.train(without, corpus, tmp_path / "without")
    assert log_of(tmp_path / "without") != log_of(tmp_path / "whole")


def test_a_warm_up_for_another_system_is_refused(corpus, tmp_path):
    config = dataclasses.replace(STILLS, aen_warmup=WARMUP)
    with pytest.raises(ValueError, match="Expected `aen_warmup` with system aen"):
        training.train.train(config, corpus, tmp_path)


def test_a_recipe_names_its_warm_up(tmp_path):
    path = tmp_path / "recipe.toml"
    base = 'system = "aen"\ndata = "ferplus_clips"\nstages = [[32, 1, 0.5]]\nepoch_length = 4\nbatch_size = 2\n'
    base += "learning_rate = 0.1\n\n[aen_warmup]\nnum_steps = 40\nbatch_size = 32\nnum_views = 2\n"
    path.write_text(base + "learning_rate = 3e-3\n")
    assert load_config(path).aen_warmup == WARMUP
    path.write_text(base)
    with pytest.raises(ValueError, match=r"aen_warmup of recipe.toml lacks \['learning_rate'\]"):
        load_config(path)
