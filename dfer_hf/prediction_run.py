"""Read a video once, and let one predictor or several answer it."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .explain import ExplainOptions
from .face_reader import FaceReader, FaceReading
from .face_summary import summarise_face
from .faces.boxes import box_area
from .faces.crop_stream import WORKING_SIDE, crop_faces, no_face_found, rank
from .faces.low_light import brighten
from .faces.orientation import find_turn, looks_turned
from .faces.quality import FaceQuality
from .prediction import ClipPrediction, FacePrediction, FramePrediction
from .prefetch import prefetch
from .video import DEFAULT_LIMITS, Frame, VideoLimits
from .video.sources import VideoSource, open_source

if TYPE_CHECKING:
    from .predictor import VideoPredictor

CROPS_AHEAD = 48
FRAMES_AHEAD = 4
MOST_SAMPLES = 8
_TURNED = "The picture was turned by {} degrees clockwise to analyse it, since the faces in it are not upright."
_PROGRESS_EVERY_SECONDS = 0.2


def predict_together(
    predictors: "Sequence[VideoPredictor]",
    source: Any,
    *,
    explain: ExplainOptions | None = None,
    limits: VideoLimits = DEFAULT_LIMITS,
    frames_per_second: float | None = None,
    name: str | None = None,
    progress: Callable[[float], None] | None = None,
    on_frame: Callable[[Frame], None] | None = None,
) -> list[ClipPrediction]:
    """Analyse a video with several systems, of which each answers as it would alone.

    The video is decoded once, faces are found and followed once, and the systems share the crops. A person has the
    same number in every prediction.

    Args:
        predictors: With the systems; they find faces alike.
        source: As of `VideoPredictor`, and likewise the rest.
        explain: How and what to explain; nothing where it is left out.
        limits: What to refuse of files.
        frames_per_second: Rate of frames that are given as arrays.
        name: What the predictions call the source.
        progress: Called now and then with the share of the video that is done.
        on_frame: Called with every frame that was read.

    Returns:
        A prediction for each predictor, in their order.

    Raises:
        VideoError: As of `VideoPredictor`, and likewise NoFaceFoundError, UnknownMethodError and UnknownTargetError.
        ValueError: If there is no predictor, if two find faces otherwise, or if the source is none.
    """
    if not predictors:
        raise ValueError("Expected one predictor or more, got none.")
    detector = predictors[0].detector
    for predictor in predictors:
        if dict(predictor.detector.settings) != dict(detector.settings):
            raise ValueError(
                f"Expected predictors that find faces alike, but {predictor.name} and {predictors[0].name} do not. "
                "Give them the same detector."
            )
        if explain is not None:
            predictor.engine.check(explain)
        predictor.engine.settle()
    notes: list[str] = []
    video = open_source(
        source, limits=limits, frames_per_second=frames_per_second, name=name, max_side=WORKING_SIDE, warn=notes.append
    )
    analysis = _Analysis(predictors, video, explain=explain, progress=progress)
    answers = analysis.run(on_frame)
    qualities = [face.quality for face in answers[0] if isinstance(face.quality, FaceQuality)]
    if video.can_be_read_again and looks_turned(qualities):
        turns = find_turn(analysis.reported_samples(), detector)
        if turns:
            told = len(notes)
            turned = _Analysis(predictors, video, explain=explain, progress=progress, turns=turns).run()
            answers = turned if turned[0] else answers
            notes[told:] = [_TURNED.format(90 * turns)]
    if not answers[0]:
        raise no_face_found(video.quoted, len(analysis.times))
    if progress is not None:
        progress(1.0)
    times = analysis.times
    rate = (len(times) - 1) / (times[-1] - times[0]) if times[-1] > times[0] else 0.0
    return [
        ClipPrediction(
            source=video.name,
            model=predictor.name,
            num_frames=len(times),
            duration_seconds=len(times) / rate if rate else 0.0,
            frames_per_second=rate,
            faces=faces,
            settings=predictor.settings,
            warnings=tuple(notes),
        )
        for predictor, faces in zip(predictors, answers, strict=True)
    ]


class _Analysis:
    """One reading of a video; `turns` are quarter turns, clockwise, that bring it upright."""

    def __init__(
        self,
        predictors: "Sequence[VideoPredictor]",
        video: VideoSource,
        *,
        explain: ExplainOptions | None,
        progress: Callable[[float], None] | None,
        turns: int = 0,
    ) -> None:
        self.predictors, self.video, self.explain, self.turns = predictors, video, explain, turns
        self.progress, self.last_call, self.reached_seconds = progress, 0.0, 0.0
        self.times: list[float] = []
        self.samples = _SpreadFrames()
        self.shown_size = (0.0, 0.0)

    def run(self, on_frame: Callable[[Frame], None] | None = None) -> list[tuple[FacePrediction, ...]]:
        """Read the video, and let each predictor answer every face, the one seen longest first."""
        readers: list[dict[int, FaceReader]] = [{} for _ in self.predictors]
        readings: list[dict[int, FaceReading]] = [{} for _ in self.predictors]
        bright = [predictor.engine.crop_rules.low_light for predictor in self.predictors]
        # Where only some brighten dark faces, they do so here.
        detector, is_shared = self.predictors[0].detector, len(set(bright)) == 1
        low_light = is_shared and bright[0]
        with (
            closing(prefetch(self._frames(on_frame), FRAMES_AHEAD)) as frames,
            closing(prefetch(crop_faces(frames, detector, low_light=low_light), CROPS_AHEAD)) as crops,
        ):
            for frame in crops:
                self.reached_seconds = frame.time_seconds
                self.report()
                for face in frame.faces:
                    for predictor, own, is_bright in zip(self.predictors, readers, bright, strict=True):
                        if face.track_id not in own:
                            own[face.track_id] = predictor.new_reader(explain=self.explain, report=self.report)
                        brightened = is_bright and not is_shared
                        own[face.track_id].add(frame, replace(face, crop=brighten(face.crop)) if brightened else face)
                # Crops of whoever has gone would fill the memory.
                for own, read in zip(readers, readings, strict=True):
                    gone = [track for track, reader in own.items() if reader.is_left_by(frame.time_seconds)]
                    read |= {track: own.pop(track).finish() for track in gone}
        for own, read in zip(readers, readings, strict=True):
            read |= {track: reader.finish() for track, reader in own.items()}
        # Every predictor was given the same faces.
        tracks = sorted(readings[0], key=lambda track: _importance(track, readings[0][track]), reverse=True)
        return [
            tuple(self._predict(predictor, track, read[track]) for track in tracks)
            for predictor, read in zip(self.predictors, readings, strict=True)
        ]

    def reported_samples(self) -> Iterator[np.ndarray]:
        """A few frames spread over the video, with a report before each."""
        for rgb in self.samples.frames:
            self.report()
            yield rgb

    def _frames(self, on_frame: Callable[[Frame], None] | None) -> Iterator[Frame]:
        """Every frame of the video, upright; runs in a thread of its own."""
        for frame in self.video.read():
            if on_frame is not None:
                on_frame(frame)
            self.times.append(frame.time_seconds)
            self.samples.add(frame.rgb)
            height, width = frame.rgb.shape[:2]
            self.shown_size = (width * frame.scale, height * frame.scale)
            if self.turns:
                frame = replace(frame, rgb=np.ascontiguousarray(np.rot90(frame.rgb, -self.turns)))
            yield frame

    def report(self) -> None:
        """Say a few times a second how far the video is; where nobody knows its length, ever nearer to the end."""
        now = time.monotonic()
        if self.progress is None or now - self.last_call < _PROGRESS_EVERY_SECONDS:
            return
        self.last_call = now
        duration, reached = self.video.duration_seconds, self.reached_seconds
        share = reached / duration if duration else reached / (reached + 10)
        self.progress(min(0.99, share))

    def _predict(self, predictor: "VideoPredictor", track_id: int, reading: FaceReading) -> FacePrediction:
        face = summarise_face(track_id, reading, predictor.engine, times=self.times)
        if not self.turns:
            return face
        return replace(face, frames=tuple(self._turn_back(frame) for frame in face.frames))

    def _turn_back(self, frame: FramePrediction) -> FramePrediction:
        """Give box and points in the picture as the video shows it."""
        if frame.box is None or frame.points is None:
            return frame
        corners = self._place(np.array(frame.box).reshape(2, 2))
        left, top, right, bottom = *corners.min(axis=0).tolist(), *corners.max(axis=0).tolist()
        return replace(frame, box=(left, top, right, bottom), points=self._place(frame.points))

    def _place(self, points: np.ndarray) -> np.ndarray:
        """Where points `(N, 2)` of the turned picture lie in the one that was turned."""
        (x, y), (width, height) = points.T, self.shown_size
        places = {1: (y, height - 1 - x), 2: (width - 1 - x, height - 1 - y), 3: (width - 1 - y, x)}
        return np.stack(places[self.turns], axis=1).astype(points.dtype)


def _importance(track_id: int, reading: FaceReading) -> tuple[int, float, int]:
    return rank(track_id, len(reading.seen), sum(box_area(frame.box) for frame in reading.seen))


class _SpreadFrames:
    """A few pictures spread over a video of unknown length."""

    def __init__(self) -> None:
        self.frames: list[np.ndarray] = []
        self.step, self.num_seen = 1, 0

    def add(self, rgb: np.ndarray) -> None:
        """Keep every picture at first, then every second, fourth, and so on."""
        if self.num_seen % self.step == 0:
            self.frames.append(rgb)
        self.num_seen += 1
        if len(self.frames) > MOST_SAMPLES:
            self.frames, self.step = self.frames[::2], 2 * self.step
