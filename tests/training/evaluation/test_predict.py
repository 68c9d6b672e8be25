import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import dfer_hf
import training.evaluation.predict
from dfer_hf.models.configuration_frame_resnet import FrameResNetConfig
from dfer_hf.models.modeling_frame_resnet import FrameResNetForVideoClassification
from training.data.protocols import FrameSource
from training.evaluation.features import FEATURE_PLACES, watch_features
from training.evaluation.predict import Predictions, PredictionsError, predict, predict_frames
from training.evaluation.prediction_files import load_predictions, save_predictions
from training.evaluation.results import cascade_confusion, within_confusion

from ..small_source import GROUPS, SEVEN, SmallSource, random_predictions

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    config = FrameResNetConfig(hidden_sizes=[4, 6, 8, 10], depths=[1, 1, 1, 1], image_size=40)
    model = FrameResNetForVideoClassification(config)
    with torch.no_grad():
        model.classifier.weight.normal_(std=1.0)
    return model.eval()


# ------------------------------------------------------------------------------------------------------------ files


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize("whole", [True, False])
def test_a_file_gives_back_every_bit(tmp_path, suffix, whole):
    rng = np.random.default_rng(0)
    fields = {"persons": tuple(f"p{index}" for index in range(6))} if whole else {}
    if whole:
        fields["features"] = rng.normal(0, 1e-7, (6, 3)).astype(np.float32)
    names = ("a,b", 'say "c"', "d/1", "éπ", "line\nbreak", "007")
    before = random_predictions(6, names=names, **fields)
    values = [np.float32(1e-45), np.float32(3.4e38), np.float32(-0.0), np.nextafter(np.float32(1), np.float32(2))]
    before.logits[0, :4] = values
    save_predictions(before, tmp_path / f"predictions{suffix}")
    after = load_predictions(tmp_path / f"predictions{suffix}")
    assert after.names == names
    assert after.persons == before.persons
    assert after.label_names == SEVEN
    assert list(after.groups.items()) == list(GROUPS.items())
    np.testing.assert_array_equal(after.labels, before.labels)
    for name in ("logits", "coarse_logits", *(["features"] if whole else [])):
        assert getattr(after, name).dtype == np.float32
        assert getattr(after, name).tobytes() == getattr(before, name).tobytes(), name
    assert whole or after.features is None


def test_the_same_predictions_give_the_same_bytes(tmp_path):
    for name in ("a.csv", "b.csv", "a.parquet", "b.parquet"):
        save_predictions(random_predictions(20), tmp_path / name)
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_without_pyarrow_only_parquet_is_refused(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    save_predictions(random_predictions(), tmp_path / "predictions.csv")
    with pytest.raises(ImportError, match=r"Run `pip install pyarrow`, or write .csv"):
        save_predictions(random_predictions(), tmp_path / "predictions.parquet")


def test_files_that_hold_no_predictions_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"Run python -m training.evaluate"):
        load_predictions(tmp_path / "none.csv")
    with pytest.raises(PredictionsError, match=r"ends in .csv or .parquet, got 'x.json'"):
        load_predictions(tmp_path / "x.json")
    save_predictions(random_predictions(), tmp_path / "whole.csv")
    text = (tmp_path / "whole.csv").read_text(encoding="utf-8")
    broken = {
        "": "Expected the columns name, label",
        "name,label\na,joy\n": "got name, label. Give a file",
        text[: len(text) // 2]: "Expected 13 fields in every line",
        text.replace("coarse_logit/neutral", "other"): "Expected the columns",
        text.replace(",anger,", ",rage,"): "Expected labels .* got rage",
        text.replace(",0.", ",zero."): "Expected numbers in the columns logit/",
    }
    for content, message in broken.items():
        (tmp_path / "broken.csv").write_text(content, encoding="utf-8")
        with pytest.raises(PredictionsError, match=message):
            load_predictions(tmp_path / "broken.csv")
    (tmp_path / "broken.parquet").write_text(text, encoding="utf-8")
    with pytest.raises(PredictionsError, match="Expected a parquet file"):
        load_predictions(tmp_path / "broken.parquet")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"labels": np.zeros(3, int)}, r"`labels` of shape \(2,\), got \(3,\)"),
        ({"labels": np.array([0, 7])}, "from 0 to 6, got 0 to 7"),
        ({"labels": np.array([0, -1])}, "from 0 to 6, got -1 to 0"),
        ({"names": ("a", "a")}, "Expected every clip once, got 'a' twice"),
        ({"logits": np.full((2, 7), np.nan)}, "NaN or infinity for 2 clips, the first 'a'.*diverged"),
        ({"coarse_logits": np.zeros((2, 2))}, r"`coarse_logits` of shape \(2, 3\)"),
        ({"groups": {"all": SEVEN[1:]}}, "every class in exactly one group"),
        ({"persons": ("x",)}, "`persons` of 2 clips, got 1"),
    ],
)
def test_what_does_not_fit_together_is_refused(fields, message):
    whole = {
        "names": ("a", "b"),
        "labels": np.zeros(2, int),
        "logits": np.zeros((2, 7)),
        "coarse_logits": np.zeros((2, 3)),
        "label_names": SEVEN,
        "groups": GROUPS,
    }
    Predictions(**whole)
    with pytest.raises(PredictionsError, match=message):
        Predictions(**whole | fields)


# ---------------------------------------------------------------------------------------------------------- predict


def test_every_clip_is_predicted_once_and_in_order(model):
    source = SmallSource(11, num_frames=2)
    predictions = predict(model, source, batch_size=4)
    assert [indices for indices, _ in source.asked] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10]]
    assert {size for _, size in source.asked} == {40}
    assert predictions.names == tuple(source.names)
    with torch.inference_mode():
        output = model(source.clips)
    np.testing.assert_allclose(predictions.logits, output.logits, atol=1e-5)
    np.testing.assert_allclose(predictions.coarse_logits, output.coarse_logits, atol=1e-5)
    np.testing.assert_array_equal(predictions.predicted, output.logits.argmax(-1))
    np.testing.assert_array_equal(predictions.coarse_predicted, output.coarse_logits.argmax(-1))
    np.testing.assert_allclose(predictions.probabilities.sum(axis=1), 1)
    np.testing.assert_array_equal(predictions.labels, source.labels)
    assert predictions.features is None


@pytest.fixture
def opencv_with_threads():
    """OpenCV with threads of its own at work, as after decoding; a forked worker would not have them."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(2)
    cv2.resize(np.zeros((2000, 2000, 3), np.uint8), (1500, 1500))
    yield
    cv2.setNumThreads(before)


@pytest.mark.usefixtures("opencv_with_threads")
def test_workers_read_the_same_clips_and_leave_the_random_numbers_alone(model):
    state = torch.get_rng_state()
    here, elsewhere = (
        predict(model, SmallSource(10), batch_size=4, image_size=32, num_workers=count) for count in (0, 2)
    )
    np.testing.assert_array_equal(here.logits, elsewhere.logits)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_model_in_training_goes_on_training_at_its_size(model):
    model.train()
    statistics = {name: buffer.clone() for name, buffer in model.named_buffers()}
    source = SmallSource(3)
    predict(model, source, batch_size=2, image_size=32)
    assert source.asked[0][1] == 32
    assert model.training
    assert model.config.image_size == 40
    assert all(torch.equal(buffer, statistics[name]) for name, buffer in model.named_buffers())

    def fail(_indices, _size):
        raise RuntimeError("unreadable")

    source.batch = fail
    with pytest.raises(RuntimeError, match="unreadable"):
        predict(model, source, batch_size=2, image_size=32)
    assert model.training
    assert model.config.image_size == 40
    model.eval()


def test_labels_are_matched_by_name(model):
    order = ("fear", "neutral", "anger", "happiness", "surprise", "disgust", "sadness")
    predictions = predict(model, SmallSource(9, label_names=order), batch_size=4)
    assert [predictions.label_names[index] for index in predictions.labels] == [*order, "fear", "neutral"]
    assert predictions.label_names == SEVEN
    with pytest.raises(PredictionsError, match=r"some show contempt. Choose a checkpoint trained on this"):
        predict(model, SmallSource(9, label_names=("contempt", *SEVEN)), batch_size=4)
    assert len(predict(model, SmallSource(7, label_names=(*SEVEN, "contempt")), batch_size=4)) == 7
    with pytest.raises(PredictionsError, match="got a source without any"):
        predict(model, SmallSource(0), batch_size=4)


class HandedOverError(Exception):
    """Ends one of several processes once its answers are known."""


class FakeProcess:
    """The part of an accelerator that `predict` uses, for one of several processes."""

    def __init__(self, process_index, num_processes):
        self.process_index, self.num_processes = process_index, num_processes

    def autocast(self):
        return torch.autocast("cpu", enabled=False)


@pytest.mark.parametrize("num_processes", [2, 3, 5])
def test_several_processes_make_the_batches_of_one(model, monkeypatch, num_processes):
    whole = SmallSource(11)
    expected = predict(model, whole, batch_size=3)
    answered, asked = [], []

    def hand_over(rows):
        answered.extend(rows)
        raise HandedOverError

    for rank in range(num_processes):
        monkeypatch.setattr(training.evaluation.predict, "gather_object", hand_over)
        part = SmallSource(11)
        with pytest.raises(HandedOverError):
            predict(model, part, batch_size=3, accelerator=FakeProcess(rank, num_processes))
        asked += part.asked
    assert sorted(asked) == sorted(whole.asked)
    monkeypatch.setattr(training.evaluation.predict, "gather_object", lambda _rows: answered)
    gathered = predict(model, SmallSource(11), batch_size=3, accelerator=FakeProcess(0, num_processes))
    assert gathered.logits.tobytes() == expected.logits.tobytes()
    assert gathered.coarse_logits.tobytes() == expected.coarse_logits.tobytes()


ON_PROCESSES = """
import sys
sys.path[:0] = [{root!r}]
import torch
from pathlib import Path
from accelerate import Accelerator
from transformers import AutoModelForVideoClassification
import dfer_hf
from tests.training.small_source import SmallSource
from training.evaluation.prediction_files import save_predictions
from training.evaluation.predict import predict

if __name__ == "__main__":
    accelerator = Accelerator(cpu=True)
    model = AutoModelForVideoClassification.from_pretrained(sys.argv[1])
    predictions = predict(
        model, SmallSource(11, num_frames=3), batch_size=2, accelerator=accelerator, with_features=True
    )
    place = Path(sys.argv[2]) / f"{{accelerator.num_processes}}-{{accelerator.process_index}}.csv"
    save_predictions(predictions, place)
    accelerator.end_training()
"""


@pytest.mark.slow
def test_one_process_and_two_give_the_same_file(model, tmp_path):
    model.save_pretrained(tmp_path / "model")
    script = tmp_path / "predict.py"
    script.write_text(ON_PROCESSES.format(root=str(ROOT)), encoding="utf-8")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    for num_processes in (1, 2):
        launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node"]
        words = [str(num_processes), str(script), str(tmp_path / "model"), str(tmp_path)]
        subprocess.run([*launch, *words], check=True, env=environment, timeout=300)
    alone = (tmp_path / "1-0.csv").read_bytes()
    assert len(load_predictions(tmp_path / "1-0.csv")) == 11
    assert (tmp_path / "2-0.csv").read_bytes() == alone
    assert (tmp_path / "2-1.csv").read_bytes() == alone


# --------------------------------------------------------------------------------------------------------- features


@pytest.mark.parametrize("system", list(dfer_hf.systems()))
def test_every_system_has_features_that_lead_to_its_answer(system):
    torch.manual_seed(0)
    build = dfer_hf.systems()[system]
    model = build(build.config_class.from_preset("tiny")).eval()
    config = model.config
    clips = torch.randn(2, config.num_frames, 3, config.image_size, config.image_size)
    hooks = {name: module._forward_pre_hooks for name, module in model.named_modules()}
    with torch.no_grad(), watch_features(model) as watch:
        output = model(pixel_values_videos=clips)
        features = watch.take(2)
        model(pixel_values_videos=clips[[1, 0]])
        swapped = watch.take(2)
    assert features.shape[0] == 2
    assert features.ndim == 2
    assert features.dtype == torch.float32
    assert not torch.allclose(features[0], features[1])
    torch.testing.assert_close(swapped, features[[1, 0]], atol=1e-4, rtol=1e-4)
    assert not any(hooks.values())
    classifier = getattr(model, "classifier", None)
    if classifier is not None and system not in (
        "frame_resnet",
        "nr_dfernet",
        # They average or filter answers.
    ):
        torch.testing.assert_close(classifier(features), output.logits, atol=1e-4, rtol=1e-4)


def test_key_points_without_time_have_features_too():
    build = dfer_hf.systems()["keypoint_gcn"]
    model = build(build.config_class.from_preset("tiny", temporal="none")).eval()
    config = model.config
    clips = torch.randn(2, config.num_frames, 3, config.image_size, config.image_size)
    with torch.no_grad(), watch_features(model) as watch:
        output = model(pixel_values_videos=clips)
        features = watch.take(2)
    torch.testing.assert_close(model.spatial_classifier(features), output.logits, atol=1e-4, rtol=1e-4)


def test_aen_shows_the_summary_of_its_lowest_level():
    build = dfer_hf.systems()["aen"]
    model = build(build.config_class.from_preset("tiny")).eval()
    config = model.config
    clips = torch.randn(2, config.num_frames, 3, config.image_size, config.image_size)
    summaries = []
    hook = model.temporal_transformers[0].register_forward_hook(lambda *call: summaries.append(call[2][0]))
    with torch.no_grad(), watch_features(model) as watch:
        model(pixel_values_videos=clips)
    hook.remove()
    torch.testing.assert_close(watch.take(2), summaries[0])


def test_features_come_with_predictions(model):
    predictions = predict(model, SmallSource(5, num_frames=3), batch_size=2, with_features=True)
    assert predictions.features is not None
    assert predictions.features.shape == (5, 10)
    assert not model.classifier._forward_pre_hooks


def test_a_system_nobody_described_is_refused(model, monkeypatch):
    monkeypatch.delitem(FEATURE_PLACES, "dfer_frame_resnet")
    with pytest.raises(ValueError, match=r"got 'dfer_frame_resnet'. Say in training/evaluation/features.py"):
        predict(model, SmallSource(2), batch_size=2, with_features=True)


# ------------------------------------------------------------------------------------------------ frame by frame


class SmallVideos:
    """Two videos of five and two frames; windows of three, the last ones overlapping or repeating frames."""

    names = ("long", "short")
    label_names = ("neutral", "anger", "surprise")
    frame_labels = (torch.tensor([0, -1, 1, 1, 2]), torch.tensor([2, -1]))
    window_videos = torch.tensor([0, 0, 1])
    window_frames = (torch.tensor([0, 1, 2]), torch.tensor([2, 3, 4]), torch.tensor([0, 0, 1]))

    def __init__(self):
        self.pixels = torch.randn(7, 3, 40, 40, generator=torch.Generator().manual_seed(3))

    def __len__(self):
        return 3

    def batch(self, indices, _size):
        starts = (0, 5)
        clips = [self.pixels[self.window_frames[i] + starts[self.window_videos[i]]] for i in indices.tolist()]
        return {"pixel_values_videos": torch.stack(clips)}


def test_labelled_frames_of_whole_videos_are_predicted(model):
    source = SmallVideos()
    assert isinstance(source, FrameSource)
    assert not isinstance(SmallSource(2), FrameSource)
    predictions = predict_frames(model, source, batch_size=2)
    assert predictions.names == ("long/0", "long/2", "long/3", "long/4", "short/0")
    assert predictions.persons == ("long",) * 4 + ("short",)
    assert [SEVEN[index] for index in predictions.labels] == ["neutral", "anger", "anger", "surprise", "surprise"]
    # This system predicts each frame by itself, wherever it is in a window.
    with torch.inference_mode():
        alone = model(source.pixels[[0, 2, 3, 4, 5], None])
    np.testing.assert_allclose(predictions.probabilities, alone.logits.softmax(-1), atol=1e-5)
    np.testing.assert_allclose(predictions.coarse_logits, alone.coarse_logits, atol=1e-4)


def test_a_frame_in_two_windows_has_the_mean_of_both():
    # In this system frames depend on each other.
    build = dfer_hf.systems()["former_dfer"]
    torch.manual_seed(0)
    model = build(build.config_class.from_preset("tiny", num_frames=3, image_size=64)).eval()
    source = SmallVideos()
    source.pixels = torch.randn(7, 3, 64, 64)
    predictions = predict_frames(model, source, batch_size=2)
    with torch.inference_mode():
        frames = model(source.batch(torch.arange(3), 64)["pixel_values_videos"]).frame_logits.softmax(-1)
    np.testing.assert_allclose(predictions.probabilities[1], (frames[0, 2] + frames[1, 0]) / 2, atol=1e-5)
    np.testing.assert_allclose(predictions.probabilities[4], (frames[2, 0] + frames[2, 1]) / 2, atol=1e-5)
    assert not torch.allclose(frames[0, 2], frames[1, 0])


def test_labelled_frames_that_no_window_shows_are_refused(model):
    source = SmallVideos()
    source.window_frames = (torch.tensor([0, 1, 2]), torch.tensor([1, 2, 3]), torch.tensor([0, 0, 1]))
    with pytest.raises(PredictionsError, match=r"labelled frame of 'long' in a window, but 1 .* frame 4"):
        predict_frames(model, source, batch_size=2)
    source = SmallVideos()
    source.frame_labels = tuple(torch.full_like(labels, -1) for labels in source.frame_labels)
    with pytest.raises(PredictionsError, match="Expected frames with a label, found none"):
        predict_frames(model, source, batch_size=2)


def test_the_cascade_answers_with_the_best_class_of_its_coarse_answer():
    predictions = Predictions(
        names=("a", "b"),
        labels=np.array([1, 2]),
        logits=np.log(np.array([[0.4, 0.3, 0.3], [0.4, 0.3, 0.3]], np.float32)),
        coarse_logits=np.log(np.array([[0.4, 0.6], [0.9, 0.1]], np.float32)),
        label_names=("happiness", "anger", "fear"),
        groups={"positive": ("happiness",), "negative": ("anger", "fear")},
    )
    assert predictions.predicted.tolist() == [0, 0]
    assert cascade_confusion(predictions).counts.tolist() == [[0, 0, 0], [0, 1, 0], [1, 0, 0]]
    # Only the true group counts, whatever class outside it is more probable; happiness is a group of its own.
    within = within_confusion(predictions)
    assert within.names == ("anger", "fear")
    assert within.counts.tolist() == [[1, 0], [1, 0]]
    alone = dataclasses.replace(predictions, labels=np.array([0, 0]))
    assert within_confusion(alone) is None
