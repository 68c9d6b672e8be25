"""From a video file to an explained prediction."""

import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .background import ahead
from .checkpoints import find_checkpoint
from .explain import layer_cam
from .faces import FaceDetector, MtcnnFaceDetector, NoFaceFoundError, track_faces
from .faces.alignment import align
from .interpolation import fill_between
from .models.modeling_dfer import DferOutput, DferPreTrainedModel
from .prediction import ClipPrediction, FacePrediction, FramePrediction, Scores
from .taxonomy import coarsen
from .video import (
    DEFAULT_LIMITS,
    Frame,
    TruncatedVideoWarning,
    VideoLimits,
    interleaved_clips,
    probe,
    read_frames,
)

WORKING_SIDE = 1280
DETECT_EVERY_SECONDS = 0.25
CLIPS_PER_BATCH = 2
FRAMES_AHEAD = 48


@dataclass(frozen=True)
class FaceCrop:
    """A face cut out of a frame: what the reading side hands to the model's side."""

    track_id: int
    prediction: FramePrediction
    crop: np.ndarray


@dataclass
class FaceRecord:
    """What is known of one person so far: crops that wait for the model, and what it said of those before."""

    waiting: list[FaceCrop] = field(default_factory=list)
    frames: list[FramePrediction] = field(default_factory=list)
    fine: np.ndarray = field(default_factory=lambda: np.zeros(()))
    coarse: np.ndarray = field(default_factory=lambda: np.zeros(()))


@dataclass(frozen=True)
class ClipAnswers:
    """What the model said of clips of one face, as arrays.

    Args:
        fine: Probabilities of the fine classes, `(clips, labels)`.
        coarse: Probabilities of the groups, `(clips, groups)`.
        frame_fine: Probabilities of the fine classes for each frame, `(clips, frames, labels)`.
        frame_weights: How much each frame counted, `(clips, frames)`.
        maps: Heat maps, `(clips, frames, h, w)`; without height and width where none are wanted.
    """

    fine: np.ndarray
    coarse: np.ndarray
    frame_fine: np.ndarray
    frame_weights: np.ndarray
    maps: np.ndarray

    @classmethod
    def of(cls, output: DferOutput, maps: torch.Tensor | None, *, temperature: float = 1.0) -> "ClipAnswers":
        """Read the model's output, which has all its fields without labels too.

        The checkpoint's temperature divides the logits of all three, so that it changes no answer.
        """
        logits, coarse_logits, frame_logits, frame_weights = (
            part.detach().float().cpu()
            for part in (output.logits, output.coarse_logits, output.frame_logits, output.frame_weights)
            if part is not None
        )
        return cls(
            (logits / temperature).softmax(dim=-1).numpy(),
            (coarse_logits / temperature).softmax(dim=-1).numpy(),
            (frame_logits / temperature).softmax(dim=-1).numpy(),
            frame_weights.numpy(),
            (torch.empty(*frame_weights.shape, 0, 0) if maps is None else maps.cpu()).numpy(),
        )

    @classmethod
    def join(cls, parts: list["ClipAnswers"]) -> "ClipAnswers":
        """Put batches of clips together."""
        names = (entry.name for entry in fields(cls))
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


class VideoPredictor:
    """Finds the faces of a video and says what each shows, frame by frame and as a whole.

    Args:
        model: A system of this package.
        processor: Its video processor; how faces are cropped and sampled stands in it.
        name: What predictions call the checkpoint.
        detector: What finds the faces; MTCNN where none is given.
        max_analysed_rate: Frames a second that are analysed at most; what lies between is interpolated. Half a frame
            of tolerance, so that 20 frames a second are analysed whole at the default. None analyses every frame.
    """

    def __init__(
        self,
        model: DferPreTrainedModel,
        processor: Any,
        *,
        name: str,
        detector: FaceDetector | None = None,
        max_analysed_rate: float | None = 15.0,
    ) -> None:
        alignment = getattr(processor, "alignment", None)
        if not isinstance(model, DferPreTrainedModel) or alignment != "arcface_112":
            raise ValueError(
                f"Expected a system of this package with faces aligned as 'arcface_112', but {name} is a "
                f"{type(model).__name__} and wants {alignment!r}. Use a checkpoint made for this package."
            )
        if getattr(processor, "low_light", False):
            raise ValueError(
                f"Expected a checkpoint that takes faces as they are, but {name} wants dark ones brightened, which only "
                "training/prepare.py does. Measure it on a prepared corpus, or use another checkpoint."
            )
        model.eval()
        self.model, self.processor, self.name = model, processor, name
        self.max_analysed_rate = max_analysed_rate
        self.detector = detector or MtcnnFaceDetector(device=str(model.device))
        self.labels = model.config.label_names
        self.groups: dict[str, list[str]] = model.config.groups

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path,
        *,
        device: str | torch.device | None = None,
        revision: str = "main",
        detector: FaceDetector | None = None,
    ) -> "VideoPredictor":
        """Load a checkpoint.

        Args:
            name_or_path: A checkpoint that ships with the package, a folder, or a Hub id.
            device: Where to run; a GPU where there is one.
            revision: Of the Hub repository.
            detector: What finds the faces; MTCNN where none is given.

        Raises:
            ValueError: If the name stands for nothing.
        """
        from transformers import AutoModelForVideoClassification, AutoVideoProcessor

        found = find_checkpoint(name_or_path)
        model = AutoModelForVideoClassification.from_pretrained(found, revision=revision, dtype=torch.float32)
        processor = AutoVideoProcessor.from_pretrained(found, revision=revision)
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        name = Path(found).resolve().name if Path(found).is_dir() else found
        return cls(model.to(torch.device(device)), processor, name=name, detector=detector)

    def __call__(
        self,
        path: str | Path,
        *,
        explain: bool = False,
        limits: VideoLimits = DEFAULT_LIMITS,
        progress: Callable[[float], None] | None = None,
    ) -> ClipPrediction:
        """Analyse a video or a still image.

        Frames are decoded, tracked and answered as a stream: memory does not grow with the length of the video.

        Args:
            path: The file.
            explain: Whether to add heat maps, which cost about as much again.
            limits: What to refuse.
            progress: Called now and then with the share of the video that is done, from 0 to 1.

        Raises:
            VideoError: If the file is missing, too large, or no video; see `dfer_hf.video`.
            NoFaceFoundError: If no face is found in any frame.
        """
        path = Path(path)
        info = probe(path, limits=limits)
        report = _Progress(progress, info.duration_seconds)
        records: dict[int, FaceRecord] = {}
        clock = _FrameClock(self.max_analysed_rate)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", TruncatedVideoWarning)
            for time_seconds, crops in ahead(self._crops(path, limits, clock), FRAMES_AHEAD):
                report(time_seconds)
                for crop in crops:
                    record = records.setdefault(crop.track_id, FaceRecord())
                    record.waiting.append(crop)
                    self._answer_full_windows(record, explain=explain)
        for record in records.values():
            self._answer_rest(record, explain=explain)
        report(float("inf"))
        if not records:
            raise NoFaceFoundError(
                f"Expected a face in {path.name}, but none was found in {clock.num_frames} frames. "
                "Use a video in which a face is larger, more frontal or better lit."
            )
        longest_first = sorted(records, key=lambda track_id: (-len(records[track_id].frames), track_id))
        return ClipPrediction(
            source=path.name,
            model=self.name,
            num_frames=clock.num_frames,
            duration_seconds=clock.duration_seconds,
            frames_per_second=clock.frames_per_second,
            faces=tuple(self._summary(track_id, records[track_id], clock) for track_id in longest_first),
            settings=self.settings,
            warnings=tuple(
                str(warning.message) for warning in caught if warning.category is TruncatedVideoWarning
            ),
        )

    @property
    def settings(self) -> dict[str, Any]:
        """How faces are found, cropped and sampled, as recorded in every prediction."""
        processor = self.processor
        return {
            "detector": dict(getattr(self.detector, "settings", {"name": type(self.detector).__name__})),
            "alignment": processor.alignment,
            "window_seconds": processor.window_seconds,
            "num_frames": self.model.config.num_frames,
            "working_side": WORKING_SIDE,
            "detect_every_seconds": DETECT_EVERY_SECONDS,
            "max_analysed_rate": self.max_analysed_rate,
            "temperature": self.model.config.temperature,
        }

    def _crops(
        self, path: Path, limits: VideoLimits, clock: "_FrameClock"
    ) -> Iterator[tuple[float, list[FaceCrop]]]:
        """Decode, track and align; time and faces of every analysed frame. Runs in a thread of its own."""
        frames = clock.choose(read_frames(path, limits=limits, max_side=WORKING_SIDE))
        for tracked in track_faces(frames, self.detector, detect_every_seconds=DETECT_EVERY_SECONDS):
            frame = tracked.frame
            crops = []
            for face in tracked.faces:
                left, top, right, bottom = (float(edge) * frame.scale for edge in face.box)
                prediction = FramePrediction(
                    frame_index=frame.index,
                    time_seconds=frame.time_seconds,
                    box=(left, top, right, bottom),
                    points=np.asarray(face.points, dtype=np.float32) * frame.scale,
                )
                crops.append(FaceCrop(face.track_id, prediction, align(frame.rgb, face.points)))
            yield frame.time_seconds, crops

    def _answer_full_windows(self, record: FaceRecord, *, explain: bool) -> None:
        """Answer the oldest window once another whole one waits behind it, so that no short rest remains."""
        window_seconds = self.processor.window_seconds
        first, last = record.waiting[0].prediction.time_seconds, record.waiting[-1].prediction.time_seconds
        if last - first < 2 * window_seconds:
            return
        end = next(
            index
            for index, crop in enumerate(record.waiting)
            if crop.prediction.time_seconds >= first + window_seconds
        )
        self._answer(record, end, explain=explain)

    def _answer_rest(self, record: FaceRecord, *, explain: bool) -> None:
        """Answer what waits at the end: one window, or two equal ones where it is much longer than one."""
        span = record.waiting[-1].prediction.time_seconds - record.waiting[0].prediction.time_seconds
        if span > 1.5 * self.processor.window_seconds:
            self._answer(record, len(record.waiting) // 2, explain=explain)
        self._answer(record, len(record.waiting), explain=explain)

    def _answer(self, record: FaceRecord, num_crops: int, *, explain: bool) -> None:
        """Let the model judge the first `num_crops` crops, each frame once, as clips that span the window."""
        window, record.waiting = record.waiting[:num_crops], record.waiting[num_crops:]
        indices = interleaved_clips(num_crops, self.model.config.num_frames)  # (clips, frames)
        crops = np.stack([crop.crop for crop in window])
        answers = ClipAnswers.join([self._run(crops[batch], explain=explain) for batch in _batches(indices)])
        flat = indices.ravel()
        frame_fine = np.zeros((num_crops, len(self.labels)))
        np.add.at(frame_fine, flat, answers.frame_fine.reshape(len(flat), -1))
        frame_fine /= np.bincount(flat, minlength=num_crops)[:, None]
        weights = np.bincount(flat, answers.frame_weights.ravel(), minlength=num_crops) / len(indices)
        place = np.zeros(num_crops, dtype=int)
        place[flat] = np.arange(len(flat))
        maps = answers.maps.reshape(len(flat), *answers.maps.shape[2:])[place]
        for index, crop in enumerate(window):
            scores = self._scores(frame_fine[index])
            record.frames.append(
                replace(
                    crop.prediction,
                    fine=scores,
                    coarse=Scores(coarsen(scores.probabilities, self.groups)),
                    weight=float(weights[index]) * num_crops,
                    heat_map=maps[index] if explain else None,
                )
            )
        record.fine = record.fine + answers.fine.mean(axis=0) * num_crops
        record.coarse = record.coarse + answers.coarse.mean(axis=0) * num_crops

    def _run(self, clips: np.ndarray, *, explain: bool) -> ClipAnswers:
        """Let the model judge clips, uint8 of shape `(clips, frames, 112, 112, 3)`."""
        inputs = self.processor(list(clips), input_data_format="channels_last", return_tensors="pt")
        pixel_values = inputs["pixel_values_videos"].to(self.model.device)
        temperature = self.model.config.temperature
        if explain:
            maps, output = layer_cam(self.model, pixel_values)
            return ClipAnswers.of(output, maps, temperature=temperature)
        with torch.inference_mode():
            output = self.model(pixel_values_videos=pixel_values)
        return ClipAnswers.of(output, None, temperature=temperature)

    def _scores(self, probabilities: np.ndarray) -> Scores:
        return Scores({label: float(value) for label, value in zip(self.labels, probabilities, strict=True)})

    def _summary(self, track_id: int, record: FaceRecord, clock: "_FrameClock") -> FacePrediction:
        num_seen = len(record.frames)
        frames = fill_between(record.frames, analysed=clock.analysed, times=clock.times)
        groups = {
            group: float(value) for group, value in zip(self.groups, record.coarse / num_seen, strict=True)
        }
        return FacePrediction(track_id, self._scores(record.fine / num_seen), Scores(groups), frames)


class _FrameClock:
    """Times of all frames that were read, and which of them are analysed."""

    def __init__(self, max_analysed_rate: float | None) -> None:
        self.step_seconds = 1 / max_analysed_rate if max_analysed_rate else 0.0
        self.times: list[float] = []
        self.analysed: list[int] = []

    def choose(self, frames: Iterator[Frame]) -> Iterator[Frame]:
        """Note every frame, and pass on those to analyse."""
        for frame in frames:
            previous = self.times[-1] if self.times else frame.time_seconds
            self.times.append(frame.time_seconds)
            half_frame = (frame.time_seconds - previous) / 2
            due = self.times[self.analysed[-1]] + self.step_seconds - half_frame if self.analysed else 0.0
            if frame.time_seconds >= due:
                self.analysed.append(frame.index)
                yield frame

    @property
    def num_frames(self) -> int:
        return len(self.times)

    @property
    def frames_per_second(self) -> float:
        """Mean rate; 0 for a still."""
        span = self.times[-1] - self.times[0] if self.times else 0.0
        return (len(self.times) - 1) / span if span > 0 else 0.0

    @property
    def duration_seconds(self) -> float:
        """Time of the last frame plus one frame; 0 for a still."""
        return len(self.times) / self.frames_per_second if self.frames_per_second else 0.0


class _Progress:
    """Passes on how far a video is, a few times a second at most."""

    def __init__(self, callback: Callable[[float], None] | None, duration_seconds: float | None) -> None:
        self.callback, self.duration_seconds = callback, duration_seconds
        self.last_call = 0.0

    def __call__(self, time_seconds: float) -> None:
        now = time.monotonic()
        if self.callback is None or not self.duration_seconds:
            return
        if now - self.last_call > 0.2 or time_seconds >= self.duration_seconds:
            self.last_call = now
            self.callback(min(1.0, time_seconds / self.duration_seconds))


def _batches(indices: np.ndarray) -> list[np.ndarray]:
    return [indices[start : start + CLIPS_PER_BATCH] for start in range(0, len(indices), CLIPS_PER_BATCH)]
