"""A clip of one window gets the same answer from the predictor, in evaluation, and from the processor on the Hub."""

import numpy as np
import pytest
import torch

import dfer_hf
from dfer_hf.faces import MtcnnFaceDetector
from dfer_hf.faces.crop_stream import crop_faces
from dfer_hf.video import write_video
from dfer_hf.video.sampling import Sampling
from dfer_hf.video.sources import open_source
from training.cache.face_clips import FaceCropper
from training.cache.prepared import PreparedClips
from training.config import Normalisation
from training.data.sources import build_processor, build_test_source
from training.datasets.corpus import Clip
from training.evaluation.predict import predict
from training.prepare import prepare

RATE = 25.0
PAPERS, SINGLE_FRAMES = (
    Sampling(num_segments=8, frames_per_segment=2),
    Sampling(num_segments=1, frames_per_segment=1),
)


@pytest.fixture(scope="module")
def clip(tmp_path_factory, scene):
    """Three seconds of a portrait that moves, and whose face is covered at the start and for half a second."""
    pictures = [scene(20 + abs(13 - index % 26)) for index in range(75)]
    for picture in pictures[:4] + pictures[30:46]:
        picture[15:95, 45:130] = 110
    path = tmp_path_factory.mktemp("clips") / "clip.webm"
    write_video(path, pictures, frames_per_second=RATE)
    return path


@pytest.mark.parametrize(
    ("system", "sampling"),
    [("frame_resnet", PAPERS), ("former_dfer", PAPERS), ("cfc_sp", SINGLE_FRAMES), ("frame_resnet", SINGLE_FRAMES)],
)
def test_product_evaluation_and_processor_give_one_answer(tmp_path, clip, system, sampling):
    torch.manual_seed(0)
    model_class = dfer_hf.systems()[system]
    fields = {"image_size": 112, "num_frames": 16} if system != "cfc_sp" else {}
    model = model_class(model_class.config_class.from_preset("tiny", **fields)).eval()
    example = Clip(clip.stem, clip, model.config.label_names[0])
    prepare([example], tmp_path / "cache", corpus="made_up", cropper=FaceCropper())
    prepared = PreparedClips(tmp_path / "cache")
    side = model.config.image_size
    processor = build_processor(prepared.record, Normalisation(), sampling)
    processor.size = {"height": side, "width": side}

    source = build_test_source([example], model.config.label_names, prepared, processor, model)
    evaluated = predict(model, source, batch_size=4).probabilities[0]
    predictor = dfer_hf.VideoPredictor(model, processor, name=system, detector=MtcnnFaceDetector())
    (face,) = predictor(clip).faces
    assert 45 <= sum(frame.box is not None for frame in face.frames) < 75
    assert list(face.fine.probabilities.values()) == pytest.approx(evaluated.tolist(), abs=1e-5)

    with torch.inference_mode():
        answer = model(**processor(str(clip), return_tensors="pt")).logits.softmax(dim=-1)[0]
    # The processor does not pass on the rate that smoothing needs.
    if sampling is PAPERS:
        assert answer.tolist() == pytest.approx(evaluated.tolist(), abs=1e-5)


def test_smoothing_spans_the_same_seconds_at_any_rate(scene):
    """CFC-SP smooths over the seconds that its 256 frames are at 30 a second, in order and across chunks of frames."""
    torch.manual_seed(0)
    model_class = dfer_hf.systems()["cfc_sp"]
    model = model_class(model_class.config_class.from_preset("tiny", smoothing_window=30)).eval()
    side = model.config.image_size
    processor = dfer_hf.DferVideoProcessor(every_frame=True, size={"height": side, "width": side})
    predictor = dfer_hf.VideoPredictor(model, processor, name="cfc", detector=MtcnnFaceDetector())
    pictures = [scene(20 + abs(13 - index % 26)) for index in range(70)]
    (face,) = predictor(pictures, frames_per_second=15).faces
    video = open_source(pictures, frames_per_second=15)
    crops = [frame.faces[0].crop for frame in crop_faces(video.read(), predictor.detector)]
    pixel_values = processor(np.stack(crops), input_data_format="channels_last", return_tensors="pt")
    model.config.smoothing_window = 15
    with torch.inference_mode():
        expected = model(**pixel_values).frame_logits.softmax(dim=-1)[0]
    found = [list(frame.fine.probabilities.values()) for frame in face.frames]
    assert np.array(found) == pytest.approx(expected.numpy(), abs=1e-5)
