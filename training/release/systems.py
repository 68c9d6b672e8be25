"""Shipped checkpoints as the benches ask them: face crops in, what the system says out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from dfer_hf.checkpoints import CheckpointError
from dfer_hf.models.modeling_dfer import DferPreTrainedModel
from dfer_hf.predictor import VideoPredictor
from dfer_hf.taxonomy import SEVEN_EMOTIONS

NAMES = [str(emotion) for emotion in SEVEN_EMOTIONS]
RECOGNISER = "dfer-frame-resnet-small"
"""The frame recogniser that every system stands beside."""

STILLS_PER_BATCH, CLIPS_PER_BATCH = 16, 4


@dataclass(frozen=True, eq=False)
class ClipOutputs:
    """What a system says of clips.

    Args:
        logits: Before the temperature, `(clips, 7)`.
        decided: Index of the class that answers, `(clips,)`.
        of_frames: Index of the best class by the mean of the system's own frame answers, `(clips,)`.
        frame_weights: Of the frames that the system looked at, `(clips, frames)`.
    """

    logits: np.ndarray
    decided: np.ndarray
    of_frames: np.ndarray
    frame_weights: np.ndarray

    @classmethod
    def join(cls, parts: Sequence["ClipOutputs"]) -> "ClipOutputs":
        """Put batches together."""
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in cls.__annotations__))


@dataclass(frozen=True, eq=False)
class System:
    """A checkpoint, ready to answer."""

    name: str
    predictor: VideoPredictor

    @classmethod
    def load(cls, checkpoint: str) -> "System":
        """Load a checkpoint of the seven classes.

        Raises:
            CheckpointError: If it cannot be used, or has other classes.
        """
        predictor = VideoPredictor.from_pretrained(checkpoint)
        if predictor.labels != NAMES:
            raise CheckpointError(
                f"Expected a checkpoint of the classes {', '.join(NAMES)}, but {predictor.name} has "
                f"{', '.join(predictor.labels)}. The benches know no others."
            )
        return cls(predictor.name, predictor)

    @property
    def model(self) -> DferPreTrainedModel:
        """The system's network."""
        return self.predictor.model

    @property
    def processor(self) -> Any:
        """Its video processor."""
        return self.predictor.processor

    def answer_stills(self, crops: np.ndarray) -> ClipOutputs:
        """Answer aligned crops `(count, 112, 112, 3)` as the predictor answers pictures: one frame, repeated."""
        num_frames = 1 if self.model.takes_any_length else self.model.config.num_frames
        return ClipOutputs.join([
            self._answer(batch, np.repeat(np.arange(len(batch))[:, None], num_frames, axis=1))
            for batch in np.split(crops, range(STILLS_PER_BATCH, len(crops), STILLS_PER_BATCH))
        ])  # fmt: skip

    def answer_clips(self, clips: np.ndarray) -> ClipOutputs:
        """Answer clips of aligned crops, `(count, frames, 112, 112, 3)`, each sampled as in evaluation."""
        chosen = self.processor.sampling.indices(clips.shape[1])
        outputs = []
        for batch in np.split(clips[:, chosen], range(CLIPS_PER_BATCH, len(clips), CLIPS_PER_BATCH)):
            frames = batch.reshape(-1, *batch.shape[2:])
            rows = np.ascontiguousarray(frames).reshape(len(frames), -1)
            same = [row.tobytes() for row in rows]
            first = {content: place for place, content in reversed(list(enumerate(same)))}
            kept = sorted(first.values())
            place = np.searchsorted(kept, [first[content] for content in same])
            outputs.append(self._answer(frames[kept], place.reshape(batch.shape[:2])))
        return ClipOutputs.join(outputs)

    def to_pixels(self, frames: np.ndarray) -> torch.Tensor:
        """What the model takes of aligned crops `(frames, 112, 112, 3)`, `(frames, channels, height, width)`."""
        inputs = self.processor([frames], input_data_format="channels_last", return_tensors="pt")
        return inputs["pixel_values_videos"][0].to(self.model.device, self.model.dtype)

    @torch.inference_mode()
    def _answer(self, frames: np.ndarray, places: np.ndarray) -> ClipOutputs:
        """Answer clips `(clips, frames)` of indices into different frames, each of which is encoded once."""
        pixels = self.to_pixels(frames)
        places_of = torch.from_numpy(places).to(pixels.device)
        output: Any
        if self.model.sees_frames_apart:
            # A picture is a clip of equal frames, whose encoding would otherwise take nearly all of the time.
            output = self.model.answer_encoded(self.model.encode_frames(pixels[None])[0, places_of])
        else:
            output = self.model(pixel_values_videos=pixels[places_of])
        logits, frame_logits = output.logits.float(), output.frame_logits.float()
        return ClipOutputs(
            logits.double().cpu().numpy(),
            self.model.decide(logits).cpu().numpy(),
            frame_logits.softmax(dim=-1).mean(dim=1).argmax(dim=-1).cpu().numpy(),
            output.frame_weights.float().cpu().numpy(),
        )
