"""Flat rows of a batch: one for each face of a file, or one that says why a file has no answer."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..prediction import ClipPrediction, FacePrediction, Scores

FILE_COLUMNS = {
    "path": "string",
    "content_hash": "string",
    "error_name": "string",
    "error": "string",
    "model": "string",
    "num_faces": "int64",
    "num_frames": "int64",
    "duration_seconds": "float64",
    "frames_per_second": "float64",
    "warnings": "list of string",
    "analysis_seconds": "float64",
}
"""What every row says of its file: column to type. A row has either an error or a face."""

FACE_COLUMNS = {
    "track_id": "int64",
    "fine": "string",
    "confidence": "float64",
    "coarse": "string",
    "coarse_confidence": "float64",
    "prediction_set": "list of string",
    "is_unsure": "bool",
    "coverage": "float64",
    "first_seconds": "float64",
    "last_seconds": "float64",
}
"""What a row says of a face: the class that was decided on, its group, and when the face was seen."""

FINE, COARSE = "p_", "p_coarse_"
"""Before the name of a class or a group: its probability."""


def column_types(labels: Iterable[str], groups: Iterable[str]) -> dict[str, str]:
    """Name the columns of the rows of a system, in order, and what is in them.

    Args:
        labels: Fine classes.
        groups: Groups of them.
    """
    probabilities = [f"{FINE}{label}" for label in labels] + [f"{COARSE}{group}" for group in groups]
    return FILE_COLUMNS | FACE_COLUMNS | dict.fromkeys(probabilities, "float64")


def face_rows(
    prediction: ClipPrediction, path: Path, *, content_hash: str | None, analysis_seconds: float
) -> list[dict[str, Any]]:
    """One row for each face of a file, the one seen longest first.

    Args:
        prediction: What was found in the file.
        path: Of the file.
        content_hash: SHA-256 of its bytes.
        analysis_seconds: How long it took.
    """
    of_file = {
        "path": path_text(path),
        "content_hash": content_hash,
        "error_name": None,
        "error": None,
        "model": prediction.model,
        "num_faces": len(prediction.faces),
        "num_frames": prediction.num_frames,
        "duration_seconds": round(prediction.duration_seconds, 4),
        "frames_per_second": round(prediction.frames_per_second, 4),
        "warnings": list(prediction.warnings),
        "analysis_seconds": round(analysis_seconds, 3),
    }
    return [of_file | _of_face(face) for face in prediction.faces]


def error_rows(
    path: Path,
    columns: Iterable[str],
    *,
    model: str,
    content_hash: str | None,
    error_name: str,
    error: str,
    analysis_seconds: float | None = None,
) -> list[dict[str, Any]]:
    """The one row of a file without an answer; what only a face has is None.

    Args:
        path: Of the file.
        columns: Of the system's rows, as `column_types` names them.
        model: What predictions call the checkpoint.
        content_hash: SHA-256 of its bytes; None where they cannot be read.
        error_name: Class of the error.
        error: What is wrong and what to do.
        analysis_seconds: How long it took to find out.
    """
    seconds = None if analysis_seconds is None else round(analysis_seconds, 3)
    said = {"path": path_text(path), "content_hash": content_hash, "error_name": error_name, "error": error}
    return [dict.fromkeys(columns) | said | {"model": model, "analysis_seconds": seconds}]


def path_text(path: Path) -> str:
    """The absolute path; bytes of file names that are no text are spelled out."""
    return os.fsencode(os.path.abspath(path)).decode("utf-8", "backslashreplace")  # noqa: PTH100  links stay links


def _of_face(face: FacePrediction) -> dict[str, Any]:
    seen = [frame.time_seconds for frame in face.frames]
    return {
        "track_id": face.track_id,
        "fine": face.fine.label,
        "confidence": round(face.fine.confidence, 6),
        "coarse": face.coarse.label,
        "coarse_confidence": round(face.coarse.confidence, 6),
        "prediction_set": list(face.fine.prediction_set),
        "is_unsure": face.is_unsure,
        "coverage": round(face.coverage, 4),
        "first_seconds": round(seen[0], 4),
        "last_seconds": round(seen[-1], 4),
        **_probabilities(FINE, face.fine),
        **_probabilities(COARSE, face.coarse),
    }


def _probabilities(prefix: str, scores: Scores) -> dict[str, float]:
    return {f"{prefix}{label}": round(value, 6) for label, value in scores.probabilities.items()}
