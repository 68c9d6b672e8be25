"""Answers of ONNX Runtime, and that they need no torch."""

import json
import multiprocessing
import os
import pickle
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from pyarrow import parquet

import dfer_hf
from dfer_hf.checkpoints import CheckpointError
from dfer_hf.engines.onnx_engine import CLIP, DECIDE, FRAMES, MTCNN
from dfer_hf.explain import UnknownMethodError
from dfer_hf.hub.onnx_weights import shrink_weights

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "astronaut.webm"
REFUSE = """
import sys

REFUSED = ("torch", "torchvision", "transformers", "facenet_pytorch", "huggingface_hub", "safetensors")

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in REFUSED:
            raise ImportError(f"{name} is refused")

sys.meta_path.insert(0, Refuse())
"""
COMMAND = "import dfer_start; dfer_start.run()"


@pytest.fixture(scope="module")
def onnx_predictor(onnx_folder):
    return dfer_hf.VideoPredictor.from_pretrained(onnx_folder, engine="onnx")


@pytest.fixture
def run_without_torch(tmp_path):
    """Runs `dfer` where neither it nor its workers can import torch."""
    start = tmp_path / "start"
    start.mkdir()
    (start / "sitecustomize.py").write_text(REFUSE, encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(start), str(ROOT), *filter(None, sys.path)])}
    return lambda *arguments: subprocess.run(
        [sys.executable, "-c", COMMAND, *map(str, arguments)],
        env=environment, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip


def assert_same(own, expected, tolerance=1e-3):
    """Compare answers as JSON: equal words, and numbers within a tolerance, that of boxes in tenths of a pixel."""
    if isinstance(expected, dict):
        assert own.keys() == expected.keys()
        for name in expected:
            assert_same(own[name], expected[name], 0.1 if name in ("box", "quality") else tolerance)
    elif isinstance(expected, list):
        assert len(own) == len(expected)
        for one, other in zip(own, expected, strict=True):
            assert_same(one, other, tolerance)
    elif isinstance(expected, float):
        assert own == pytest.approx(expected, abs=tolerance)
    else:
        assert own == expected


@pytest.mark.parametrize("name", ["face.webm", "short.webm", "pair.webm", "still.png"])
def test_answers_are_those_of_torch(onnx_predictor, tiny_checkpoint, clips, name):
    torch_predictor = dfer_hf.VideoPredictor.from_pretrained(tiny_checkpoint, device="cpu")
    expected = torch_predictor(clips / name).to_dict()
    assert expected["faces"]
    assert_same(onnx_predictor(clips / name).to_dict(), expected)


def test_the_command_answers_where_torch_cannot_be_imported(run_without_torch, onnx_folder, tiny_checkpoint, tmp_path):
    arguments = ("predict", EXAMPLE, "--quiet", "--json")
    found = run_without_torch(*arguments, tmp_path / "own.json", "--engine", "onnx", "--model", onnx_folder)
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")
    expected = dfer_hf.VideoPredictor.from_pretrained(tiny_checkpoint, device="cpu")(EXAMPLE).to_dict()
    assert_same(json.loads((tmp_path / "own.json").read_text(encoding="utf-8")), expected)


def test_tables_and_overlays_need_no_torch_either(run_without_torch, onnx_folder, clips, tmp_path):
    found = run_without_torch(
        "predict", clips / "short.webm", "--engine", "onnx", "--model", onnx_folder, "--csv", tmp_path / "a.csv",
        "--overlay", tmp_path / "seen.webm", "--json", tmp_path / "a.json",
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    assert "short.webm: " in found.stdout
    # Masks take minutes, so that an overlay alone has none.
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))["faces"][0]["explanation"] is None
    assert (tmp_path / "a.csv").stat().st_size > 100
    assert (tmp_path / "seen.webm").stat().st_size > 100


def test_workers_of_a_batch_need_no_torch_either(run_without_torch, onnx_folder, clips, tmp_path):
    folder = tmp_path / "clips"
    folder.mkdir()
    for name in ("short.webm", "still.png"):
        shutil.copy(clips / name, folder)
    (folder / "empty.mp4").touch()
    arguments = ("batch", folder, "--output", tmp_path / "rows", "--workers", "2", "--engine", "onnx")
    found = run_without_torch(*arguments, "--model", onnx_folder)
    assert found.returncode == 1, found.stderr
    assert "2 files answered, 1 with an error, 3 rows" in found.stdout
    rows = {Path(row["path"]).name: row for row in parquet.read_table(tmp_path / "rows").to_pylist()}
    expected = dfer_hf.VideoPredictor.from_pretrained(onnx_folder, engine="onnx")(clips / "short.webm")
    assert rows["short.webm"]["confidence"] == pytest.approx(expected.faces[0].fine.confidence, abs=1e-6)
    assert rows["empty.mp4"]["error_name"] == "EmptyVideoError"
    assert "3 files were there" in run_without_torch(*arguments, "--model", onnx_folder).stdout
    other = shutil.copytree(onnx_folder, tmp_path / "other" / onnx_folder.name)
    shrink_weights(other / FRAMES, "int8")
    refused = run_without_torch(*arguments, "--model", other)
    assert (refused.returncode, "made with another weights" in refused.stderr) == (2, True), refused.stderr


def test_the_command_explains_where_torch_cannot_be_imported(run_without_torch, onnx_folder, clips, tmp_path):
    found = run_without_torch(
        "predict", clips / "short.webm", "--engine", "onnx", "--model", onnx_folder, "--explain", "masks",
        "--target", "fear", "--instead-of", "surprise", "--maps", tmp_path / "maps.npz",
        "--overlay", tmp_path / "why.webm",
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    assert "Face 1. For fear and not surprise speak: " in found.stdout
    with np.load(tmp_path / "maps.npz") as maps:
        assert maps["face0_maps"].shape == (5, 28, 28)
        assert maps["face0_maps"].max() == pytest.approx(1)
        assert np.isfinite(maps["face0_loss_without"]).all()
    assert (tmp_path / "why.webm").stat().st_size > 100


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--explain", "layercam"], "the engine \"onnx\" offers, one of masks, got 'layercam'"),
        (["--target", "joy"], "got 'joy'"),
        (["--instead-of", "fear"], "Name both"),
        (["--device", "cuda"], "Expected the CPU"),
    ],
)
def test_what_the_engine_cannot_do_is_said_without_torch(
    run_without_torch, onnx_folder, clips, options, said, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    found = run_without_torch("predict", clips / "short.webm", "--engine", "onnx", "--model", onnx_folder, *options)
    assert found.returncode == 2
    assert said in found.stderr
    assert "Traceback" not in found.stderr


def test_predictors_go_to_other_threads_and_processes(onnx_predictor, clips):
    expected = onnx_predictor(clips / "short.webm").to_json()
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(lambda _: onnx_predictor(clips / "short.webm").to_json(), range(2))) == [expected] * 2
    assert pickle.loads(pickle.dumps(onnx_predictor))(clips / "short.webm").to_json() == expected
    with multiprocessing.get_context("fork").Pool(1) as pool:
        forked = pool.apply_async(_answer, (onnx_predictor, clips / "short.webm")).get(timeout=120)
    assert_same(json.loads(forked), json.loads(expected))


def _answer(predictor, path):
    return predictor(path).to_json()


def test_methods_and_parts_of_torch_are_refused(onnx_predictor, clips):
    with pytest.raises(UnknownMethodError, match="one of masks"):
        onnx_predictor(clips / "short.webm", explain="layercam")
    with pytest.raises(AttributeError, match="has a model"):
        _ = onnx_predictor.model


@pytest.mark.parametrize("name", [CLIP, DECIDE, MTCNN[0]])
def test_graphs_that_are_broken_or_missing_are_named(onnx_folder, clips, tmp_path, name):
    shutil.copytree(onnx_folder, tmp_path / "graphs")
    broken = tmp_path / "graphs" / name
    for damage in (lambda: broken.write_bytes(b"no graph"), broken.unlink):
        damage()
        with pytest.raises(CheckpointError, match=rf"{name}, got .*dfer export --onnx"):
            dfer_hf.VideoPredictor.from_pretrained(tmp_path / "graphs", engine="onnx")(clips / "short.webm")
