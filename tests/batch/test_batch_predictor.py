"""Rows for paths: flat, one bad file one error row, and a predictor that is small enough to send."""

import hashlib
import pickle

import numpy as np
import pytest

from dfer_hf.batch import BatchPredictor
from dfer_hf.video import VideoLimits


@pytest.fixture(scope="module")
def rows(batch_predictor, clips):
    names = ("face.webm", "pair.webm", "faceless.webm", "empty.mp4", "text.mp4", "missing.mp4")
    return batch_predictor([clips / name for name in names])


def rows_of(rows, name):
    return [row for row in rows if row["path"].endswith(f"/{name}")]


def test_it_is_sent_without_its_weights(batch_predictor, clips, rows):
    sent = pickle.dumps(batch_predictor)
    assert len(sent) < 1000
    other = pickle.loads(sent)
    assert other == batch_predictor
    (row,), (expected,) = other([clips / "face.webm"]), rows_of(rows, "face.webm")
    assert {**row, "analysis_seconds": 0} == {**expected, "analysis_seconds": 0}
    # Once in a process, however often it is sent there.
    assert other.predictor is batch_predictor.predictor


def test_a_row_says_what_the_predictor_says(batch_predictor, clips, rows):
    found = batch_predictor.predictor(clips / "pair.webm")
    assert len(found.faces) == 2
    assert len(rows_of(rows, "pair.webm")) == 2
    for face, row in zip(found.faces, rows_of(rows, "pair.webm"), strict=True):
        assert row["content_hash"] == hashlib.sha256((clips / "pair.webm").read_bytes()).hexdigest()
        assert (row["track_id"], row["fine"], row["coarse"]) == (face.track_id, face.fine.label, face.coarse.label)
        assert row["confidence"] == pytest.approx(face.fine.confidence, abs=1e-6)
        assert row["prediction_set"] == list(face.fine.prediction_set)
        assert row["duration_seconds"] == pytest.approx(found.duration_seconds, abs=1e-3)
        for label, value in face.fine.probabilities.items():
            assert row[f"p_{label}"] == pytest.approx(value, abs=1e-6)
        assert sum(row[f"p_coarse_{group}"] for group in face.coarse.probabilities) == pytest.approx(1, abs=1e-4)
        assert row["error"] is row["error_name"] is None
        assert row["analysis_seconds"] > 0


def test_a_bad_file_is_one_row_with_a_named_error(rows):
    errors = {row["path"].rpartition("/")[2]: row for row in rows if row["error"]}
    assert {name: row["error_name"] for name, row in errors.items()} == {
        "faceless.webm": "NoFaceFoundError",
        "empty.mp4": "EmptyVideoError",
        "text.mp4": "NotAVideoError",
        "missing.mp4": "VideoNotFoundError",
    }
    for row in errors.values():
        assert row["fine"] is row["track_id"] is None
    assert errors["missing.mp4"]["content_hash"] is None


def test_all_rows_have_the_same_flat_columns(batch_predictor, rows):
    assert {tuple(row) for row in rows} == {tuple(batch_predictor.columns)}
    kinds = (str, int, float, list, type(None))
    assert all(isinstance(value, kinds) for row in rows for value in row.values())


def test_a_batch_of_ray_data_becomes_a_table(batch_predictor, clips, rows):
    paths = np.array([str(clips / name) for name in ("empty.mp4", "face.webm")], dtype=object)
    table = batch_predictor({"path": paths})
    assert table.column("fine").to_pylist() == [None, rows_of(rows, "face.webm")[0]["fine"]]
    with pytest.raises(KeyError, match="Expected a batch with the column 'path', got video"):
        batch_predictor({"video": paths})


def test_limits_are_kept(tiny_checkpoint, clips):
    strict = BatchPredictor(str(tiny_checkpoint), device="cpu", limits=VideoLimits(max_seconds=1))
    (row,) = strict([clips / "face.webm"])
    assert row["error_name"] == "VideoTooLargeError"


def test_an_unknown_engine_is_refused():
    with pytest.raises(ValueError, match="Unknown engine 'steam': expected one of torch"):
        BatchPredictor("dfer-aen-small", engine="steam")
