import json
import os
import sys

import numpy as np
import pytest
import torch
from torch import nn

from dfer_hf.checkpoints import shipped_folder
from dfer_hf.models.configuration_frame_resnet import FrameResNetConfig
from dfer_hf.models.modeling_frame_resnet import FrameResNetForVideoClassification
from dfer_hf.models.modeling_r3d import R3dTrunk
from tests.shared_data import SHARED_DATA
from training.synthetic import noise_bench
from training.synthetic.noise_bank import FaceBank, make_bank
from training.synthetic.noise_bench import (
    TEST_CLIPS,
    Study,
    build,
    examine,
    fit,
    observe,
    split_bank,
    table,
    train_3d_trunk,
    train_recogniser,
    views,
)
from training.synthetic.noise_clips import NoiseClips
from training.synthetic.render_clips import FrameKind
from training.synthetic.warm_start import inflated, start_trunk

TRUNK = {"hidden_sizes": [4, 6, 8, 10], "depths": [1, 1, 1, 1]}
TINY = {
    "aen": TRUNK | {"temporal_layers": 1, "temporal_heads": 2, "temporal_head_dim": 4},
    "nr_dfernet": {"hidden_sizes": [4, 6, 8], "depths": [1, 1, 1], "spatial_layers": 1, "temporal_layers": 1},
    "m3dfel": TRUNK | {"lstm_hidden_size": 8},
}


def bars(num_clips=14, num_frames=16, *, seed=0):
    """Clips of grey bars whose direction is the label; noise is frames of one grey."""
    generator = np.random.default_rng(seed)
    labels = np.arange(num_clips) % 7
    y, x = np.mgrid[:80, :80]
    angle = labels[:, None, None] * np.pi / 7
    pattern = 127 + 100 * np.sin((x * np.cos(angle) + y * np.sin(angle)) / 4)
    frames = np.repeat(pattern[:, None], num_frames, axis=1) + generator.normal(0, 9, (num_clips, num_frames, 1, 1))
    kinds = np.full((num_clips, num_frames), FrameKind.TARGET)
    if num_frames > 1:
        for clip, kind in enumerate(generator.choice(list(FrameKind)[1:], num_clips)):
            kinds[clip, 4 * (clip % 4) :][:4] = kind
    frames[kinds != FrameKind.TARGET] = 90
    intensities = generator.uniform(0.2, 1, kinds.shape).astype(np.float32)
    return NoiseClips(frames.clip(0, 255).astype(np.uint8), labels, kinds, intensities)


def bank(num_people=3, *, seed=0):
    """The same bars as the expressions of people, in three strengths."""
    pictures = [bars(7, 3, seed=seed + person).frames for person in range(num_people)]
    return FaceBank(np.stack(pictures))


@pytest.fixture(scope="module")
def recogniser(tmp_path_factory):
    torch.manual_seed(0)
    model = FrameResNetForVideoClassification(FrameResNetConfig(**TRUNK))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.1, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 2)
    folder = tmp_path_factory.mktemp("recogniser")
    model.save_pretrained(folder)
    return folder


@pytest.fixture
def tiny_studies(monkeypatch):
    for system, model in TINY.items():
        monkeypatch.setitem(noise_bench.STUDIES, system, Study(model, num_epochs=1, epoch_length=14, batch_size=7))


def test_a_clip_is_cropped_mirrored_and_lit_as_one():
    clips = bars()
    still = clips.frames[:, :1].repeat(16, axis=1)
    clips = NoiseClips(still, clips.labels, clips.kinds, clips.intensities)
    indices = torch.arange(14)
    random = views(clips, indices, 64, torch.Generator().manual_seed(0))
    assert random.shape == (14, 16, 3, 64, 64)
    torch.testing.assert_close(random, random[:, :1].expand_as(random))
    again = views(clips, indices, 64, torch.Generator().manual_seed(1))
    assert (random - again).abs().mean() > 0.1


def test_training_begins_a_clip_anywhere_and_keeps_its_order():
    clips = bars(num_clips=7)
    tones = (10 + 15 * np.arange(16))[None, :, None, None] + np.zeros_like(clips.frames)
    clips = NoiseClips(tones.astype(np.uint8), clips.labels, clips.kinds, clips.intensities)
    seen = views(clips, torch.arange(7), 64, torch.Generator().manual_seed(0)).mean(dim=(2, 3, 4))  # (7, 16)
    begins = seen.argmin(dim=1)
    assert len(set(begins.tolist())) > 3
    for clip, begin in zip(seen, begins.tolist(), strict=True):
        assert (clip.roll(-begin).diff() >= 0).all()
    fixed = views(clips, torch.arange(7), 64).mean(dim=(2, 3, 4))
    assert (fixed.diff(dim=1) > 0).all()


def test_evaluation_sees_the_middle_scaled_as_the_processor_does():
    clips = bars()
    seen = views(clips, torch.tensor([3]), 64)
    expected = (torch.from_numpy(clips.frames[3, :, 8:72, 8:72]).float() / 255 - 0.5) / 0.25
    torch.testing.assert_close(seen[0, :, 1], expected)
    assert views(clips, torch.tensor([3]), 48).shape == (1, 16, 3, 48, 48)


def test_an_inflated_trunk_knows_what_the_recogniser_knows(recogniser):
    """A convolution of it answers to every frame what the recogniser's answers to a picture."""
    model = FrameResNetForVideoClassification.from_pretrained(recogniser)
    config = build("m3dfel", Study(TINY["m3dfel"])).config
    trunk = R3dTrunk(config).eval()
    # Strict: no name is left over on either side.
    trunk.load_state_dict(inflated(model))
    frames = torch.randn(2, 3, 5, 32, 32)
    in_2d = model.eval().trunk.embedder.embedder.convolution(frames[:, :, 3])
    torch.testing.assert_close(trunk.stem[0](frames)[:, :, 3], in_2d, atol=1e-5, rtol=1e-4)
    shortcut = model.trunk.encoder.stages[1].layers[0].shortcut(in_2d)
    torch.testing.assert_close(trunk.layer2[0].downsample(in_2d[:, :, None])[:, :, 0], shortcut)


@pytest.mark.parametrize("system", TINY)
def test_a_warm_start_takes_the_recognisers_trunk(system, recogniser):
    model = build(system, Study(TINY[system]))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    taken = start_trunk(model, recogniser)
    assert taken == (["guide", "trunk"] if system == "aen" else ["trunk"])
    changed = {
        name.split(".")[0] for name, value in model.state_dict().items() if not torch.equal(value, before[name])
    }
    assert changed == set(taken)


def test_a_trunk_of_other_widths_is_refused(recogniser):
    with pytest.raises(
        ValueError, match=r"Expected a trunk of widths \[4, 6, 8, 10\].*Give the system the same widths and depths"
    ):
        start_trunk(build("m3dfel", Study()), recogniser)


def test_training_is_the_same_every_time():
    study = Study(TRUNK, num_epochs=2, epoch_length=14, batch_size=7)
    first, again = (
        fit(build("frame_resnet", study), lambda generator: bank().compose(14, generator), study) for _ in range(2)
    )
    assert first == again
    assert len(first) == 2


def test_training_teaches_the_labels_of_all_clips():
    study = Study(TRUNK, num_epochs=25, epoch_length=14, learning_rate=2e-2, trunk_share=1.0, batch_size=7)
    model, clips = build("frame_resnet", study), bars(num_frames=1)
    fit(model, lambda _generator: clips, study)
    seen = observe(model, clips)
    assert (
        seen.probabilities.argmax(axis=1) == clips.labels
        # Mirroring makes pairs of classes alike.
    ).mean() >= 0.5


def test_a_loss_that_is_not_finite_stops_the_training():
    study = Study(TRUNK, num_epochs=1, epoch_length=14, batch_size=7)
    model = build("frame_resnet", study)
    nn.init.constant_(model.classifier.weight, torch.inf)
    with pytest.raises(
        FloatingPointError, match=r"Expected a finite loss, got nan in epoch 0\. Lower the learning rate"
    ):
        fit(model, lambda _generator: bars(num_frames=1), study)


def test_a_pretrained_trunk_learns_slower():
    """With a share of nothing it stands still, and nothing else does."""
    study = Study(TINY["aen"], num_epochs=1, epoch_length=14, trunk_share=0.0, batch_size=7)
    model = build("aen", study)
    before = {name: value.clone() for name, value in model.named_parameters()}
    fit(model, lambda _generator: bars(), study)
    moved = {name.split(".")[0] for name, value in model.named_parameters() if not torch.equal(value, before[name])}
    assert "trunk" not in moved
    assert "guide" not in moved
    assert "temporal_transformers" in moved


def test_observing_keeps_clip_and_truth_together(recogniser):
    clips = bars(num_clips=21)
    model = build("aen", Study(TINY["aen"]))
    start_trunk(model, recogniser)
    seen = observe(model, clips)
    alone = model(pixel_values_videos=views(clips, torch.tensor([20]), 64))
    np.testing.assert_allclose(seen.frame_weights[20], alone.frame_weights[0].detach(), atol=1e-5)
    np.testing.assert_allclose(seen.probabilities[20], alone.logits[0].softmax(dim=-1).detach(), atol=1e-5)
    np.testing.assert_array_equal(seen.kinds, clips.kinds)
    np.testing.assert_allclose(seen.frame_probabilities.sum(axis=-1), 1, atol=1e-5)


def test_a_3d_trunk_learns_from_pictures_beforehand(recogniser):
    study = Study(TINY["m3dfel"], num_still_epochs=1)
    model = build("m3dfel", study)
    start_trunk(model, recogniser)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert np.isfinite(train_3d_trunk(model, bank(), study)).all()
    changed = {
        name.split(".")[0] for name, value in model.state_dict().items() if not torch.equal(value, before[name])
    }
    assert changed == {"trunk"}


@pytest.mark.usefixtures("tiny_studies")
def test_a_measured_system_is_not_trained_again(recogniser, tmp_path, monkeypatch):
    first = examine("m3dfel", bank(), bars(seed=1), recogniser, tmp_path)
    assert first == json.loads((tmp_path / "m3dfel.json").read_text(encoding="utf-8"))
    monkeypatch.setattr(noise_bench, "fit", None)
    assert examine("m3dfel", bank(), bars(seed=1), recogniser, tmp_path) == first
    text = table([first])
    assert "mean pooling is 1" in text
    assert f"{first['figures']['noise']['value']:.3f}" in text


def test_unknown_systems_and_missing_recognisers_are_refused(tmp_path, monkeypatch, capsys):
    with pytest.raises(ValueError, match="Unknown system 'aen2'; expected one of"):
        build("aen2", Study())
    with pytest.raises(FileNotFoundError, match=r"found no config.json\. Name one with --recogniser"):
        train_recogniser(bank(), tmp_path / "taught", start=tmp_path / "nothing")
    monkeypatch.setattr(sys, "argv", ["noise_bench.py", "--face-kit", "x", "--output", "y", "--systems", "aen2"])
    with pytest.raises(SystemExit):
        noise_bench.main()
    assert "unknown systems aen2" in capsys.readouterr().err


@pytest.fixture(scope="session")
def real_bed(tmp_path_factory):
    face_kit = SHARED_DATA / "ict_facekit" / "ict_facekit.npz"
    if not face_kit.is_file():
        pytest.skip(f"{face_kit} is not there; set DFER_SHARED_DATA to the folder with the shared data.")
    folder = tmp_path_factory.mktemp("noise_bench")
    people, clips = split_bank(make_bank(face_kit, folder / "bank", 400), TEST_CLIPS)
    threads = torch.get_num_threads()
    torch.set_num_threads(min(2, os.cpu_count() or 1))
    start = shipped_folder("model_cards") / "dfer-frame-resnet-small"
    recogniser = train_recogniser(people, folder / "recogniser", start=start)
    torch.set_num_threads(threads)
    return people, clips, recogniser


@pytest.mark.slow
@pytest.mark.parametrize("system", ["nr_dfernet", "aen", "m3dfel"])
def test_less_weight_lies_on_placed_noise_than_mean_pooling_gives(system, real_bed, tmp_path, capsys):
    people, clips, recogniser = real_bed
    torch.set_num_threads(min(2, os.cpu_count() or 1))  # given back by `on_one_cpu_thread`
    result = examine(system, people, clips, recogniser, tmp_path)
    with capsys.disabled():
        sys.stdout.write("\n" + table([result]))
    assert result["figures"]["noise"]["high"] < 1
    assert result["figures"]["accuracy"]["low"] > 1 / 7
