"""Workers of a batch as actors of a Ray cluster."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ray  # pyright: ignore[reportMissingImports]  of an extra
from ray.exceptions import RayActorError, RayTaskError  # pyright: ignore[reportMissingImports]

from ..file_run import sentence
from .crew import WorkersFailedError
from .job import BatchJob, Outcome


class RayWorkers:
    """Actors on the cluster that `RAY_ADDRESS` or this machine's `ray start` names; else on one of this machine alone.

    Args:
        job: What they do. Every machine of the cluster sees files, checkpoint and output at the same paths.
        needs_gpu: Whether each has a GPU for itself, instead of a core.
    """

    def __init__(self, job: BatchJob, *, needs_gpu: bool) -> None:
        # Ray tells its makers of every cluster unless it is told not to.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        self.is_ours = not ray.is_initialized()
        if self.is_ours:
            ray.init(include_dashboard=False, log_to_driver=False, logging_level="error")
        self.num_places = int(ray.cluster_resources().get("GPU" if needs_gpu else "CPU", 0))
        if not self.num_places:
            raise WorkersFailedError(f"Expected a cluster with {'GPUs' if needs_gpu else 'cores'}, but it has none.")
        self.job = job
        self.actor_class = ray.remote(num_cpus=1, num_gpus=int(needs_gpu), max_restarts=0)(_Actor)
        self.actors: dict[int, Any] = {}
        self.answers: dict[Any, int] = {}

    def __enter__(self) -> "RayWorkers":
        return self

    def __exit__(self, *unused: object) -> None:
        for actor in self.actors.values():
            ray.kill(actor)
        if self.is_ours:
            ray.shutdown()

    def give(self, number: int, file: Path) -> None:
        """Let a worker that is idle work on a file."""
        if number not in self.actors:
            self.actors[number] = self.actor_class.remote(self.job)
        self.answers[self.actors[number].answer.remote(file)] = number

    def wait(self, seconds: float) -> Iterator[tuple[int, Outcome | None]]:
        """Wait for any worker; the numbers of those that are idle now, each with what became of its file.

        Raises:
            WorkersFailedError: If the checkpoint cannot be loaded, or the output not be written.
        """
        for answer in ray.wait(list(self.answers), timeout=seconds)[0]:
            number = self.answers.pop(answer)
            try:
                outcome, failure = ray.get(answer)
            except RayActorError:
                del self.actors[number]
                yield number, None
                continue
            except RayTaskError as error:
                raise WorkersFailedError(sentence(error)) from error
            if failure:
                raise WorkersFailedError(failure)
            yield number, outcome


class _Actor:
    def __init__(self, job: BatchJob) -> None:
        self.job = job

    def answer(self, file: Path) -> tuple[Outcome | None, str]:
        """Answer a file, or say what fails for every one."""
        return self.job.attempt(file)
