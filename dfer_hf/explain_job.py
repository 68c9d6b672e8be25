"""Explain a file in a process of its own: what a program asks the page for."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .analysis import PixelCount, refusals, with_all_there_is
from .explain import Target
from .video import VideoLimits
from .worker import Report

if TYPE_CHECKING:
    from .predictor import VideoPredictor

MAPS_NAME = "maps.npz"


def explain_file(
    predictors: "dict[str, VideoPredictor]",
    report: Report,
    name: str,
    video: str,
    folder: Path,
    target: Target,
    method: str,
    limits: VideoLimits,
    max_pixels: int,
) -> list[dict[str, Any]]:
    """Explain every face of a file; `AnalysisWorkers.in_turn` calls it.

    Args:
        predictors: Loaded checkpoints by name.
        report: Takes the progress.
        name: Of the checkpoint that answers.
        video: The file.
        folder: Where the heat maps go, as `MAPS_NAME`.
        target: What to explain.
        method: By which method; empty for the default.
        limits: What to refuse.
        max_pixels: How many pixels all frames may have together.

    Returns:
        For each face its answer, its explanation as plain values, and that in one sentence.

    Raises:
        JobRefusedError: If the file is bad or shows no face, or the system has no such class or method.
    """
    tempfile.tempdir = str(folder)
    predictor = with_all_there_is(predictors[name])
    with refusals():
        prediction = predictor(
            video,
            explain=method or True,
            target=target,
            limits=limits,
            progress=lambda share: report(share, "Explaining the answer"),
            on_frame=PixelCount(max_pixels),
        )
    prediction.save_maps(folder / MAPS_NAME)
    return [
        {
            "answer": face.answer,
            "fine": face.fine.to_dict(),
            "coarse": face.coarse.to_dict(),
            "explanation": face.explanation.to_dict(),
            "sentence": face.explanation.sentence,
        }
        for face in prediction.faces
        if face.explanation is not None
    ]
