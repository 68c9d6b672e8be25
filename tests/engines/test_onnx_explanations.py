"""What ONNX Runtime says that answers rest on, by graphs so small that everything is known of them."""

import json
import subprocess
import sys

import numpy as np
import pytest

from dfer_hf.engines.onnx_engine import OnnxEngine
from dfer_hf.explain import MASKS, ExplainOptions, Target, UnknownMethodError, UnknownTargetError, quarter_runs
from tests.engines.small_graphs import CORNER, NUM_FRAMES, write_small_graphs

KINDS = {
    "any length": {"sees_frames_apart": True, "takes_any_length": True},
    "frames apart": {"sees_frames_apart": True, "takes_any_length": False},
    "frames together": {"sees_frames_apart": False, "takes_any_length": False},
}
OPTIONS = ExplainOptions(MASKS)
EXPLAIN = """
import json, sys
import numpy as np
from dfer_hf.explain import Target
from dfer_hf.faces.detection import Detection
from dfer_hf.predict_command import VideoPredictor

class FixedDetector:
    settings = {"detector": "fixed"}

    def detect(self, images):
        points = np.array([(60.0, 50), (90, 50), (75, 65), (63, 85), (87, 85)])
        return [[Detection((40.0, 20.0, 110.0, 110.0), points, 0.99)] for _ in images]

predictor = VideoPredictor.from_pretrained(sys.argv[1], engine="onnx", detector=FixedDetector())
picture = np.random.default_rng(0).random((120, 160, 3))
video = [(picture * (230 + 5 * number)).astype(np.uint8) for number in range(6)]
(face,) = predictor(video, frames_per_second=5, target=Target("negative", "neutral")).faces
print(json.dumps({
    "explanation": face.explanation.to_dict(),
    "losses": [frame.loss_without for frame in face.frames],
    "shapes": [frame.heat_map.shape for frame in face.frames],
    "imported": sorted({"torch", "torchvision", "transformers", "facenet_pytorch"} & set(sys.modules)),
}))
"""


@pytest.fixture(scope="module", params=list(KINDS))
def engine(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("graphs")
    write_small_graphs(folder, **KINDS[request.param])
    return OnnxEngine(folder)


@pytest.fixture(scope="module")
def clip():
    """Grey crops whose upper left corner is white in the second half, and whose lower right is all along."""
    crops = np.full((NUM_FRAMES, 112, 112, 3), 100, dtype=np.uint8)
    crops[NUM_FRAMES // 2 :, :CORNER, :CORNER] = 255
    crops[:, -CORNER:, -CORNER:] = 255
    return crops


def test_masks_mark_the_place_and_the_frames_that_count(engine, clip):
    found = engine.explain(clip, OPTIONS)
    maps = found.answers.maps
    assert maps.shape == (1, NUM_FRAMES, 28, 28)
    counts, idle = maps[0, NUM_FRAMES // 2 :, :7, :7].mean(), maps[0, NUM_FRAMES // 2 :, 21:, 21:].mean()
    assert counts > 3 * idle
    assert counts > 2 * maps[0, : NUM_FRAMES // 4, :7, :7].mean()
    assert found.without.shape == (0, 7)
    assert (found.encoded is None) == (engine._frames is None)
    np.testing.assert_allclose(found.answers.fine, engine.answer([clip]).fine, rtol=1e-6)


def test_frames_are_left_out_or_replaced_as_the_system_allows(engine, clip):
    left_out = quarter_runs(NUM_FRAMES)
    without = engine.explain(clip, OPTIONS, left_out=left_out).without
    for row, found in zip(left_out, without, strict=True):
        kept = np.flatnonzero(~row)
        nearest = kept[np.abs(kept - np.arange(len(row))[:, None]).argmin(axis=1)]
        places = kept if engine.takes_any_length else nearest
        np.testing.assert_allclose(found, engine.answer([clip[places]]).fine[0], rtol=1e-4)
    assert np.ptp(without, axis=0).max() > 0.05


def test_encoded_frames_are_left_out_likewise(tmp_path, clip):
    write_small_graphs(tmp_path, **KINDS["any length"])
    engine = OnnxEngine(tmp_path)
    left_out = quarter_runs(NUM_FRAMES)
    parts = [engine.encode(clip[:5]), engine.encode(clip[5:])]
    answers, without = engine.answer_encoded(parts, frames_per_second=None, left_out=left_out)
    np.testing.assert_allclose(answers.fine, engine.answer([clip]).fine, rtol=1e-5)
    np.testing.assert_allclose(without, engine.explain(clip, OPTIONS, left_out=left_out).without, rtol=1e-5)


def test_what_needs_gradients_and_who_is_not_known_is_refused(engine):
    with pytest.raises(UnknownMethodError, match="the engine \"onnx\" offers, one of masks, got 'layercam'"):
        engine.check(ExplainOptions("layercam"))
    with pytest.raises(UnknownTargetError, match="got 'joy'"):
        engine.check(ExplainOptions(MASKS, Target("joy")))


@pytest.mark.parametrize("kind", ["any length", "frames apart"])
def test_a_process_that_explains_imports_neither_torch_nor_transformers(tmp_path, kind):
    write_small_graphs(tmp_path, **KINDS[kind])
    done = subprocess.run([sys.executable, "-c", EXPLAIN, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["imported"] == []
    assert found["explanation"]["target"] == "negative and not neutral"
    assert found["explanation"]["method"] == MASKS
    assert sum(found["explanation"]["parts_percent"].values()) == pytest.approx(100, abs=0.5)
    assert found["shapes"] == [[28, 28]] * 6
    assert all(isinstance(loss, float) for loss in found["losses"])
