"""Follow one face through a video and let the model answer as soon as enough of it was seen."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .engines import ClipAnswers, Engine
from .explain import ExplainOptions, quarter_runs
from .faces.crop_stream import CroppedFrame, FaceCrop
from .faces.quality import sharpness
from .faces.tracking import RESUME_SECONDS
from .video.sampling import Sampling, frame_rate

CROPS_PER_CHUNK = 8


@dataclass(frozen=True)
class SeenFrame:
    """Where a face was in one frame; its crop is gone."""

    index: int
    time_seconds: float
    box: tuple[float, float, float, float]
    points: np.ndarray
    confidence: float


@dataclass(frozen=True)
class LookedAt:
    """What the model said of the frames that it saw; probabilities are before the checkpoint's temperature.

    Args:
        positions: Of the frames among those in which the face was seen, rising, `(looked_at,)`.
        fine: Probabilities of the fine classes, `(looked_at, labels)`.
        weights: Share of each frame in the answer, `(looked_at,)`.
        sharpness: Of each crop, `(looked_at,)`.
        movements: How far each blendshape went, `(looked_at, blendshapes)`.
        maps: Heat maps, `(looked_at, h, w)`, not scaled.
    """

    positions: np.ndarray
    fine: np.ndarray
    weights: np.ndarray
    sharpness: np.ndarray
    movements: np.ndarray
    maps: np.ndarray

    @classmethod
    def join(cls, parts: list["LookedAt"]) -> "LookedAt":
        """Put the parts of a video together."""
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in cls.__annotations__))


@dataclass(frozen=True)
class FaceReading:
    """One face of a whole video: the frames that show it, and what the model said of them and of all together.

    Args:
        seen: Every frame that shows the face.
        looked_at: What the model said of those it saw.
        fine: Probabilities of the fine classes for the video, `(labels,)`.
        coarse: Likewise of the groups, `(groups,)`.
        left_out: Which frames that it saw each variant of the video lacks, `(variants, looked_at)` of booleans.
        without: Probabilities of the fine classes for each variant, `(variants, labels)`.
        options: How it was explained; None if not asked.
    """

    seen: list[SeenFrame]
    looked_at: LookedAt
    fine: np.ndarray
    coarse: np.ndarray
    left_out: np.ndarray
    without: np.ndarray
    options: ExplainOptions | None


class FaceReader(ABC):
    """Takes the crops of one person in the order of time.

    Args:
        engine: What answers.
        sampling: Which frames the system looks at.
        explain: How and what to explain, which the model offers; None if not asked.
        report: Called before each piece of work of the model; may raise to stop.
    """

    def __init__(
        self, engine: Engine, sampling: Sampling, *, explain: ExplainOptions | None, report: Callable[[], None]
    ) -> None:
        self.engine, self.sampling, self.report = engine, sampling, report
        self.options = explain
        self.seen: list[SeenFrame] = []
        self.waiting: list[np.ndarray] = []
        self.parts: list[LookedAt] = []

    def add(self, frame: CroppedFrame, face: FaceCrop) -> None:
        """Take the next crop, and answer what need not wait for more."""
        self.seen.append(SeenFrame(frame.index, frame.time_seconds, face.box, face.points, face.confidence))
        self.waiting.append(face.crop)
        self.answer_waiting()

    def is_left_by(self, time_seconds: float) -> bool:
        """Whether the person is not seen again, from what is known at a time: by then it would be somebody new."""
        return time_seconds - self.seen[-1].time_seconds > RESUME_SECONDS

    @abstractmethod
    def answer_waiting(self) -> None:
        """Answer what need not wait for more crops."""

    @abstractmethod
    def finish(self) -> FaceReading:
        """Answer the rest, and put everything together."""

    def reported(self, clips: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """The clips, with a report before each."""
        for clip in clips:
            self.report()
            yield clip

    def take(self, count: int) -> tuple[int, np.ndarray]:
        """The oldest `count` crops that wait, `(count, 112, 112, 3)`, and the position of the first."""
        start = len(self.seen) - len(self.waiting)
        crops, self.waiting = np.stack(self.waiting[:count]), self.waiting[count:]
        return start, crops


class WindowReader(FaceReader):
    """Reads a face for systems that see a fixed number of frames: window by window, each sampled as in evaluation.

    The answer of a window is that of the very clip which evaluation picks from its frames. Further clips, of frames
    that lie between, say what those show, and count for nothing else. A video of up to one and a half windows is one
    window; the answer of a longer one is the mean over its windows, weighted by their frames.

    Args:
        engine: What answers.
        sampling: Which frames of a window are looked at.
        window_seconds: Length of a window.
        max_analysed_rate: Frames a second that are looked at, about; None for all.
        options: As of `FaceReader`.
    """

    def __init__(
        self,
        engine: Engine,
        sampling: Sampling,
        *,
        window_seconds: float,
        max_analysed_rate: float | None,
        **options: Any,
    ) -> None:
        super().__init__(engine, sampling, **options)
        self.window_seconds, self.max_analysed_rate = window_seconds, max_analysed_rate
        self.fine: list[np.ndarray] = []
        self.coarse: list[np.ndarray] = []
        # Of each window: which of its frames a variant lacks, and how much the window's answer changes without them.
        self.left_out: list[np.ndarray] = []
        self.changes: list[np.ndarray] = []

    def answer_waiting(self) -> None:
        """Answer the oldest window once another whole one waits behind it, so that no short rest remains."""
        times = self._times()
        if times[-1] - times[0] >= 2 * self.window_seconds:
            self._answer(int(np.searchsorted(times, times[0] + self.window_seconds)))

    def finish(self) -> FaceReading:
        """Answer what waits: one window, or two equal ones where it is much longer than one."""
        times = self._times()
        if times[-1] - times[0] > 1.5 * self.window_seconds:
            self._answer(len(times) // 2)
        self._answer(len(self.waiting))
        num_seen = len(self.seen)
        fine, coarse = (np.sum(answers, axis=0) / num_seen for answers in (self.fine, self.coarse))
        return FaceReading(
            self.seen,
            LookedAt.join(self.parts),
            fine,
            coarse,
            _beside_each_other(self.left_out),
            fine + np.concatenate(self.changes) / num_seen,
            self.options,
        )

    def _answer(self, count: int) -> None:
        views = self.sampling.views(count, every=self._every(self._times()[:count]))
        start, crops = self.take(count)
        positions, place = np.unique(views, return_inverse=True)
        # The frames of the answer, which is that of the first view, and the one of them that is nearest to each frame.
        answered, copy = np.unique(views[0], return_inverse=True)
        nearest = np.abs(positions[:, None] - answered).argmin(axis=1)
        clips = self.reported(crops[view] for view in views)
        if self.options is None:
            answers = self.engine.answer(clips)
            left_out, without = np.zeros((0, len(answered)), dtype=bool), answers.fine[:0]
        else:
            left_out = quarter_runs(len(answered))
            explained = [
                self.engine.explain(clip, self.options, left_out=left_out[:, copy.ravel()] if number == 0 else None)
                for number, clip in enumerate(clips)
            ]
            answers, without = ClipAnswers.join([part.answers for part in explained]), explained[0].without
        self.left_out.append(left_out[:, nearest])
        self.changes.append(count * (without - answers.fine[0]))
        times_looked_at = np.bincount(place.ravel())
        fine = np.zeros((len(positions), answers.fine.shape[1]))
        np.add.at(fine, place.ravel(), answers.frame_fine.reshape(views.size, -1))
        movements = np.zeros((len(positions), answers.movements.shape[2]))
        np.add.at(movements, place.ravel(), answers.movements.reshape(views.size, -1))
        weights = np.bincount(views[0], answers.frame_weights[0], minlength=count)[positions]
        maps = np.zeros((len(positions), *answers.maps.shape[2:]), dtype=answers.maps.dtype)
        # Copies of a frame that was repeated, as a picture is, need not count alike.
        np.maximum.at(maps, place.ravel(), answers.maps.reshape(views.size, *maps.shape[1:]))
        self.parts.append(
            LookedAt(
                start + positions,
                fine / times_looked_at[:, None],
                weights * count,
                np.array([sharpness(crop) for crop in crops[positions]]),
                movements / times_looked_at[:, None],
                maps,
            )
        )
        self.fine.append(answers.fine[0] * count)
        self.coarse.append(answers.coarse[0] * count)

    def _times(self) -> list[float]:
        return [frame.time_seconds for frame in self.seen[len(self.seen) - len(self.waiting) :]]

    def _every(self, times: list[float]) -> int:
        """One frame in how many is looked at; half a frame of tolerance lets all of 20 a second be."""
        rate = frame_rate(times)
        if self.max_analysed_rate is None or rate is None:
            return 1
        return max(1, math.ceil(rate / self.max_analysed_rate - 0.5))


class InOrderReader(FaceReader):
    """Reads a face for systems that take any number of frames and every one of them, in order.

    What each frame says by itself is kept, which is little, and the whole video is answered from that at the end, so
    that no border shows between its parts.

    Raises:
        ValueError: If the system takes no other number of frames than its own.
    """

    def __init__(self, engine: Engine, sampling: Sampling, **options: Any) -> None:
        if not engine.takes_any_length:
            raise ValueError(
                f"Expected a system that takes any number of frames, got one of {engine.answer_rules.num_frames}, to "
                "which its processor shows every frame. Use the checkpoint's own processor."
            )
        super().__init__(engine, sampling, **options)
        self.encoded: list[Any] = []

    def answer_waiting(self) -> None:
        """Let the model see the crops once there are many."""
        if len(self.waiting) >= CROPS_PER_CHUNK:
            self._encode()

    def finish(self) -> FaceReading:
        """Answer the whole video."""
        if self.waiting:
            self._encode()
        rate = frame_rate([frame.time_seconds for frame in self.seen])
        num_seen = len(self.seen)
        left_out = np.zeros((0, num_seen), dtype=bool) if self.options is None else quarter_runs(num_seen)
        answers, without = self.engine.answer_encoded(self.encoded, frames_per_second=rate, left_out=left_out)
        own = LookedAt.join(self.parts)
        looked_at = replace(
            own, fine=answers.frame_fine[0], weights=answers.frame_weights[0], movements=answers.movements[0]
        )
        fine, coarse = answers.fine[0], answers.coarse[0]
        return FaceReading(self.seen, looked_at, fine, coarse, left_out, without, self.options)

    def _encode(self) -> None:
        start, crops = self.take(len(self.waiting))
        self.report()
        count = len(crops)
        if self.options is None:
            encoded, maps = self.engine.encode(crops), np.empty((count, 0, 0))
        else:
            explained = self.engine.explain(crops, self.options)
            encoded, maps = explained.encoded, explained.answers.maps[0]
        self.encoded.append(encoded)
        sharp = np.array([sharpness(crop) for crop in crops])
        empty = np.empty(count)
        self.parts.append(LookedAt(np.arange(start, start + count), empty, empty, sharp, empty[:, None], maps))


def _beside_each_other(blocks: list[np.ndarray]) -> np.ndarray:
    """Put blocks along the diagonal of one matrix of booleans."""
    whole = np.zeros((sum(len(block) for block in blocks), sum(block.shape[1] for block in blocks)), dtype=bool)
    row = column = 0
    for block in blocks:
        whole[row : row + len(block), column : column + block.shape[1]] = block
        row, column = row + len(block), column + block.shape[1]
    return whole
