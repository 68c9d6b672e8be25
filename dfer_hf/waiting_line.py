"""Who waits for a turn, and who comes next."""

import bisect
import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from .worker import JobCancelledError, Report


class WaitingLine:
    """Lets a few in at a time. Short ones go before long ones, but nobody waits longer than for what he brings.

    Args:
        places: How many are in at a time.
    """

    def __init__(self, places: int = 1) -> None:
        self._changed = threading.Condition()
        self._numbers = itertools.count()
        self._waiting: list[tuple[float, int]] = []
        self._free, self._places = places, places

    @contextmanager
    def take(self, seconds: float, *, on_progress: Report, cancelled: threading.Event) -> Iterator[None]:
        """Wait for a turn, and hold it until the block is left.

        Args:
            seconds: How long what is brought lasts.
            on_progress: Told how many are before.
            cancelled: Set by whoever does not want the turn any more.

        Raises:
            JobCancelledError: If `cancelled` was set before the turn came.
        """
        ticket = (time.monotonic() + seconds, next(self._numbers))
        before = -1
        with self._changed:
            bisect.insort(self._waiting, ticket)
            try:
                while not self._free or self._waiting[0] != ticket:
                    if cancelled.is_set():
                        raise JobCancelledError
                    if before != (before := self._waiting.index(ticket) + self._places - self._free):
                        on_progress(0.0, f"Waiting for {before} before you")
                    self._changed.wait(0.2)
                self._free -= 1
            finally:
                self._waiting.remove(ticket)
                self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._free += 1
                self._changed.notify_all()
