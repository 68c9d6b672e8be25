"""Analyse on ZeroGPU, where the Hub lends a GPU for a while to a function of the process that serves the page."""

import importlib.util
import os
from collections.abc import Callable
from typing import Any

from dfer_hf.analysis import AnalysisWorkers, load_predictors
from dfer_hf.worker import JobRefusedError

# What the Hub lends at a time, and what an analysis takes of it: to start, and for each second of the video.
MAX_SECONDS, START_SECONDS, SECONDS_PER_SECOND = 120, 15, 1.0

LOADED: dict[str, Any] = {}
"""The checkpoints by name: whatever works on the GPU is a copy of this process."""


def is_on_zero() -> bool:
    """Whether this runs on ZeroGPU."""
    return os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "true") and bool(importlib.util.find_spec("spaces"))


def gpu_seconds(_job: object, _arguments: object, video_seconds: float) -> int:
    """How long the GPU is asked for: longer for longer videos."""
    return min(MAX_SECONDS, round(START_SECONDS + SECONDS_PER_SECOND * video_seconds))


def do_job(job: Callable[..., Any], arguments: tuple[Any, ...], video_seconds: float) -> tuple[bool, Any]:
    """Do a job with the loaded checkpoints; a refusal is returned, as of errors only the kind would come back."""
    del video_seconds
    try:
        return True, job(LOADED, lambda *_: None, *arguments)
    except JobRefusedError as error:
        return False, (str(error), error.name)


class ZeroWorkers(AnalysisWorkers):
    """Looks at files in processes of their own, and analyses them on the GPU that the Hub lends."""

    def start(self) -> None:
        """Load the checkpoints, here and where files are looked at."""
        super().start()
        LOADED.update(load_predictors(self._checkpoints))
        self.on_gpu = importlib.import_module("spaces").GPU(duration=gpu_seconds)(do_job)

    def run_job(self, job: Callable[..., Any], *arguments: Any, seconds: float, **unused: Any) -> Any:
        """Do a job on the GPU, which cannot be stopped before the time that was asked for."""
        del unused
        is_done, outcome = self.on_gpu(job, arguments, seconds)
        if not is_done:
            raise JobRefusedError(*outcome)
        return outcome
