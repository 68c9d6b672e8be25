"""Turn a container's time stamps into seconds that start at 0 and never jump."""

# A break in the stamps below this passes without a word: recordings are often joined with such.
_UNREMARKED_SECONDS = 1.0


class Clock:
    """Gives each frame its seconds from the first one; where stamps jump, it goes on at the usual distance.

    Attributes:
        seconds: Time of the last frame.
        breaks: Times at which the stamps ran backwards or leapt ahead.
        jumps: Those of them that are worth a word.
    """

    def __init__(self, *, step_seconds: float, longest_pause_seconds: float) -> None:
        """Set what follows a frame without a duration, and how long one may be shown without it."""
        self.seconds = 0.0
        self.breaks: list[float] = []
        self.jumps: list[float] = []
        self._step_seconds = step_seconds
        self._longest_pause_seconds = longest_pause_seconds
        self._is_started = False
        self._first_stamp: float | None = None

    @property
    def end_seconds(self) -> float:
        """When the last frame ends."""
        return self.seconds + self._step_seconds

    def tick(self, stamp_seconds: float | None, duration_seconds: float = 0.0) -> float:
        """Return the time of the next frame, which may have no stamp of its own."""
        following = self.end_seconds if self._is_started else 0.0
        seconds = following
        if stamp_seconds is not None:
            if self._first_stamp is None:
                self._first_stamp = stamp_seconds - following
            seconds = stamp_seconds - self._first_stamp
            if not self.seconds <= seconds <= following + self._longest_pause_seconds:
                self.breaks.append(following)
                if abs(seconds - following) > _UNREMARKED_SECONDS:
                    self.jumps.append(following)
                self._first_stamp, seconds = stamp_seconds - following, following
        if duration_seconds > 0:
            self._step_seconds = duration_seconds
        elif self._is_started and seconds > self.seconds:
            self._step_seconds = seconds - self.seconds
        self._is_started, self.seconds = True, seconds
        return seconds
