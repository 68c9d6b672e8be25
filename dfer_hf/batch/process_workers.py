"""Workers of a batch as processes of this machine."""

import multiprocessing
import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from ..job_limits import usable_cores
from .crew import WorkersFailedError
from .job import BatchJob, Outcome


@dataclass(frozen=True)
class _Worker:
    process: BaseProcess
    line: Connection


class ProcessWorkers:
    """Spawned processes that share the cores of this machine.

    Args:
        job: What they do.
        num_workers: How many there are at most.
        devices: Where they run, in turn.
    """

    def __init__(self, job: BatchJob, *, num_workers: int, devices: Sequence[str | None]) -> None:
        self.job, self.devices = job, devices
        self.num_threads = max(1, usable_cores() // num_workers)
        self.workers: dict[int, _Worker] = {}

    def __enter__(self) -> "ProcessWorkers":
        return self

    def __exit__(self, *unused: object) -> None:
        for worker in self.workers.values():
            worker.process.kill()
        for worker in self.workers.values():
            worker.process.join()
            worker.line.close()

    def give(self, number: int, file: Path) -> None:
        """Let a worker that is idle work on a file."""
        if number not in self.workers:
            self.workers[number] = self._start(number)
        try:
            self.workers[number].line.send(file)
        except OSError:
            # It died while it had nothing to do.
            self._bury(number)
            self.workers[number] = self._start(number)
            self.workers[number].line.send(file)

    def wait(self, seconds: float) -> Iterator[tuple[int, Outcome | None]]:
        """Wait for any worker; the numbers of those that are idle now, each with what became of its file.

        Raises:
            WorkersFailedError: If the checkpoint cannot be loaded, or the output not be written.
        """
        numbers = {worker.line: number for number, worker in self.workers.items()}
        for line in wait(list(numbers), timeout=seconds):
            number = numbers[line]  # pyright: ignore[reportArgumentType]  no sockets
            try:
                outcome, failure = self.workers[number].line.recv()
            except (EOFError, OSError):
                self._bury(number)
                yield number, None
                continue
            if failure:
                raise WorkersFailedError(failure)
            yield number, outcome

    def _start(self, number: int) -> _Worker:
        context = multiprocessing.get_context("spawn")
        line, its_line = context.Pipe()
        device = self.devices[number % len(self.devices)]
        job = replace(self.job, predictor=replace(self.job.predictor, device=device))
        process = context.Process(
            target=_serve, args=(its_line, job, self.num_threads), name=f"dfer-batch-{number}", daemon=True
        )
        process.start()
        # Only the worker holds its end now, so that the line ends with it.
        its_line.close()
        return _Worker(process, line)

    def _bury(self, number: int) -> None:
        worker = self.workers.pop(number)
        worker.process.join()
        worker.line.close()


def _serve(line: Connection, job: BatchJob, num_threads: int) -> None:
    """Answer the files that come in, until the command hangs up."""
    # Ctrl-C is for the command, which ends its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Every engine asks for this when it is first loaded, which is later.
    os.environ["OMP_NUM_THREADS"] = str(num_threads)
    while True:
        try:
            file = line.recv()
        except EOFError:
            return
        answer = job.attempt(file)
        try:
            line.send(answer)
        except OSError:
            return
