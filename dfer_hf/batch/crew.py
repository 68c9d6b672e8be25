"""Hand files to workers one at a time, so that a worker that is killed takes one file with it, which is done again."""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Protocol

from .job import BatchJob, Outcome

MOST_TRIES = 2
"""A file whose worker was ended so often gets an error row instead."""
_TICK_SECONDS = 0.2


class WorkersFailedError(RuntimeError):
    """What every file needs, such as the checkpoint or the output folder, cannot be had by the workers."""


class Workers(Protocol):
    """Processes that work on one file each, numbered from 0; each is started when it is given its first file."""

    def __enter__(self) -> "Workers":
        """Get ready."""
        ...

    def __exit__(self, *unused: object) -> None:
        """End every worker."""
        ...

    def give(self, number: int, file: Path) -> None:
        """Let a worker that is idle work on a file."""
        ...

    def wait(self, seconds: float) -> Iterable[tuple[int, Outcome | None]]:
        """Wait for any worker; the numbers of those that are idle now, each with what became of its file.

        It is None where the worker has died.

        Raises:
            WorkersFailedError: If what every file needs cannot be had.
        """
        ...


class Crew:
    """Lets workers answer files, and says what became of each.

    Args:
        files: What to answer, in order.
        job: What the workers do.
        workers: The workers.
        num_workers: How many there are.
        report: Called several times a second; may raise to stop.
    """

    def __init__(
        self, files: Sequence[Path], job: BatchJob, workers: Workers, *, num_workers: int, report: Callable[[], None]
    ) -> None:
        self.job, self.workers, self.report = job, workers, report
        self.waiting = deque(files)
        self.idle = list(range(num_workers))
        self.running: dict[int, Path] = {}
        self.tries: Counter[Path] = Counter()
        self.outcomes: dict[Path, Outcome] = {}

    def outcome(self, file: Path) -> Outcome:
        """What became of a file; the others are worked on meanwhile.

        Raises:
            WorkersFailedError: If what every file needs cannot be had.
        """
        while file not in self.outcomes:
            while self.waiting and self.idle:
                self._hand_out(self.waiting.popleft())
            self.report()
            for number, outcome in self.workers.wait(_TICK_SECONDS):
                self._take_in(number, outcome)
        return self.outcomes[file]

    def _hand_out(self, file: Path) -> None:
        number = self.idle.pop()
        self.tries[file] += 1
        self.running[number] = file
        self.workers.give(number, file)

    def _take_in(self, number: int, outcome: Outcome | None) -> None:
        file = self.running.pop(number)
        self.idle.append(number)
        if outcome is not None:
            self.outcomes[file] = outcome
        elif self.tries[file] < MOST_TRIES:
            self.waiting.appendleft(file)
        else:
            self.outcomes[file] = self.job.give_up(file)
