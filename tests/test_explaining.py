import numpy as np
import pytest
import torch

import dfer_hf
from dfer_hf import face_summary
from dfer_hf.explain import EmptyContrastError, Target, UnknownMethodError, UnknownTargetError
from dfer_hf.face_reader import _beside_each_other
from dfer_hf.models.configuration_frame_resnet import FrameResNetConfig
from dfer_hf.models.modeling_frame_resnet import FrameResNetForVideoClassification
from dfer_hf.video import read_frames


def test_an_explanation_says_where_when_and_with_which_numbers(prediction):
    (face,) = prediction.faces
    explanation = face.explanation
    assert explanation.target == face.fine.label
    assert explanation.probability == pytest.approx(face.fine.confidence, abs=1e-5)
    assert sum(explanation.parts.values()) == pytest.approx(100)
    assert max(frame.heat_map.max() for frame in face.frames if frame.heat_map is not None) == pytest.approx(1)
    assert all(frame.loss_without is not None for frame in face.frames if frame.box is not None)
    # The weights of the frame recogniser are all the same.
    assert explanation.weight_agreement is None
    written = prediction.to_dict()["faces"][0]
    assert written["explanation"]["sentence"] == explanation.sentence
    assert written["frames"][0]["loss_without"] == pytest.approx(face.frames[0].loss_without, abs=1e-6)


def test_what_is_not_asked_for_is_not_there(predictor, clips):
    (face,) = predictor(clips / "short.webm").faces
    assert face.explanation is None
    assert all(frame.loss_without is frame.heat_map is None for frame in face.frames)
    assert face.to_dict()["explanation"] is None


@pytest.mark.parametrize(("target", "said"), [("fear", "fear"), (Target("fear", "surprise"), "fear and not surprise")])
def test_another_class_is_explained_instead(predictor, clips, target, said):
    (face,) = predictor(clips / "short.webm", target=target).faces
    fine = face.fine.probabilities
    expected = fine["fear"] if said == "fear" else fine["fear"] / (fine["fear"] + fine["surprise"])
    assert face.explanation.target == said
    assert face.explanation.probability == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"explain": "attention"}, UnknownMethodError),
        ({"target": "joy"}, UnknownTargetError),
        ({"target": Target("fear", "negative")}, EmptyContrastError),
    ],
)
def test_what_cannot_be_explained_is_refused_before_the_video_is_read(predictor, options, error):
    with pytest.raises(error):
        predictor("nowhere.webm", **options)


def test_the_loss_is_what_the_answer_loses_without_the_quarter_around_a_frame(clips, detector):
    torch.manual_seed(0)
    names = ["mouthSmileLeft", "mouthSmileRight", "jawOpen"]
    config = FrameResNetConfig.from_preset("tiny", blendshape_names=names)
    model = FrameResNetForVideoClassification(config)
    with torch.no_grad():
        model.classifier.weight.normal_(std=0.5)
    size = {"height": config.image_size, "width": config.image_size}
    processor = dfer_hf.DferVideoProcessor(num_frames=config.num_frames, size=size, every_frame=True)
    predictor = dfer_hf.VideoPredictor(model, processor, name="tiny", detector=detector)
    # It gets lighter, so that no frame is like another.
    pictures = [frame.rgb * (0.4 + frame.index / 40) for frame in read_frames(clips / "face.webm")]
    video = [picture.astype(np.uint8) for picture in pictures]
    (face,) = predictor(video, frames_per_second=10, explain="gradcam").faces
    frames = [frame for frame in face.frames if frame.box is not None]
    answer = np.array([frame.fine.probabilities[face.fine.label] for frame in frames])
    assert len(answer) == 24
    without = [answer.mean() - np.delete(answer, range(first, first + 6)).mean() for first in range(19)]
    firsts = [min(max(place - 2, 0), 18) for place in range(24)]
    losses = [np.mean([without[first] for first in firsts if first <= place < first + 6]) for place in range(24)]
    assert [frame.loss_without for frame in frames] == pytest.approx(losses, abs=1e-6)
    assert np.ptp(losses) > 1e-4
    assert set(face.explanation.movements) == {"lip corners up", "jaw open"}
    assert all(0 < strength < 1 for strength in face.explanation.movements.values())


def test_windows_are_left_out_each_by_itself():
    blocks = [np.ones((2, 3), dtype=bool), np.zeros((0, 2), dtype=bool), np.eye(2, dtype=bool)]
    whole = _beside_each_other(blocks)
    assert whole.shape == (4, 7)
    assert whole[:2, :3].all()
    assert whole[2:, 5:].tolist() == np.eye(2, dtype=bool).tolist()
    assert whole.sum() == 8


def test_a_single_frame_has_a_map_and_no_loss(predictor, clips):
    (face,) = predictor(clips / "still.png", explain=True).faces
    assert face.frames[0].heat_map is not None
    assert face.frames[0].loss_without is None
    assert face.explanation.weight_agreement is None


def test_losses_of_many_windows_are_those_of_the_whole_answer(tiny_model, clips, detector):
    """Of the mean over windows: without a quarter of one of two, at most an eighth of the answer is another."""
    processor = dfer_hf.DferVideoProcessor(window_seconds=1.0)
    short = dfer_hf.VideoPredictor(tiny_model, processor, name="tiny", detector=detector)
    (face,) = short(clips / "face.webm", explain=True).faces
    losses = [frame.loss_without for frame in face.frames if frame.loss_without is not None]
    assert len(losses) == 24
    assert all(abs(loss) < 1 / 8 for loss in losses)
    assert len({round(loss, 9) for loss in losses}) > 4


def test_the_command_explains_a_class_and_writes_its_maps(dfer, clips):
    code, printed, _ = dfer("predict", clips / "short.webm", "--target", "fear", "--maps", "maps.npz")
    assert code == 0
    assert "Face 1. For fear speak: " in printed
    maps = np.load("maps.npz")
    assert maps["face0_maps"].shape[0] == maps["face0_time_seconds"].shape[0] == 5
    assert maps["face0_maps"].max() == pytest.approx(1)
    assert maps["face0_points"].shape == (5, 5, 2)
    assert np.isfinite(maps["face0_loss_without"]).all()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--target", "joy"], "got 'joy'"),
        (["--explain", "attention"], "one of gradcam, layercam"),
        (["--instead-of", "fear"], "Name both"),
        (["--maps", "maps.png"], "ending in .npz"),
    ],
)
def test_the_command_refuses_what_it_cannot_explain(dfer, clips, options, said):
    code, printed, errors = dfer("predict", clips / "short.webm", *options)
    assert (code, printed) == (2, "")
    assert said in errors


def test_maps_that_nobody_asked_for_are_not_written(predictor, clips, tmp_path):
    with pytest.raises(ValueError, match="with heat maps"):
        predictor(clips / "short.webm").save_maps(tmp_path / "maps.npz")


def test_one_strong_place_does_not_hide_all_others():
    maps = np.full((10, 14, 14), 0.1)
    maps[:, 7:9] = 0.2
    maps[4, 3, 3] = 50
    scaled = face_summary._scaled(maps)
    assert scaled.max() == scaled[4, 3, 3] == 1
    assert scaled[:, 7:9].min() == 1
    assert scaled[:, 0].max() == pytest.approx(0.5)
    assert face_summary._scaled(np.zeros((2, 3, 3))).max() == 0
