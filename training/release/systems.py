"""Shipped checkpoints as the benches ask them: face crops in, what the system says out."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
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
_STAGES = tuple(f"trunk.encoder.stages.{stage}" for stage in range(4))
FRAMEWISE = {
    "dfer_aen": ("trunk", "guide.trunk"),
    "dfer_nr_dfernet": ("trunk",),
    "dfer_keypoint_gcn": ("trunk", "landmark_head"),
    "dfer_former_dfer": ("trunk.embedder", *_STAGES, "spatial_transformer"),
    "dfer_resnet_rnn": ("trunk",),
}
"""Parts of a system that see every frame by itself."""


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

    @torch.inference_mode()
    def _answer(self, frames: np.ndarray, places: np.ndarray) -> ClipOutputs:
        """Answer clips `(clips, frames)` of indices into different frames, each of which is encoded once."""
        inputs = self.processor([frames], input_data_format="channels_last", return_tensors="pt")
        pixels = inputs["pixel_values_videos"][0].to(self.model.device, self.model.dtype)
        places_of = torch.from_numpy(places).to(pixels.device)
        with each_frame_once(self.model, pixels, places_of.flatten()):
            output = self.model(pixel_values_videos=pixels[places_of])
        logits, frame_logits = output.logits.float(), output.frame_logits.float()
        return ClipOutputs(
            logits.double().cpu().numpy(),
            self.model.decide(logits).cpu().numpy(),
            frame_logits.softmax(dim=-1).mean(dim=1).argmax(dim=-1).cpu().numpy(),
            output.frame_weights.float().cpu().numpy(),
        )


@contextmanager
def each_frame_once(model: DferPreTrainedModel, frames: torch.Tensor, places: torch.Tensor) -> Iterator[None]:
    """Let the parts of a system that see frames one by one see each different frame once.

    A picture is a clip of equal frames, whose encoding would otherwise take nearly all of the time.

    Args:
        model: The system; its next input must hold `frames[places]`.
        frames: Different frames, `(different, channels, size, size)`.
        places: Which of them each frame of the input is, `(count,)`.
    """
    # Where each different frame is in the input; any of its places will do.
    somewhere = torch.zeros(len(frames), dtype=torch.long, device=places.device)
    somewhere[places] = torch.arange(len(places), device=places.device)

    def narrow(_module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        return (inputs[0][somewhere], *inputs[1:])

    def widen(_module: torch.nn.Module, _inputs: Any, output: Any) -> Any:
        if isinstance(output, torch.Tensor):
            return output[places]
        output.feature_maps = tuple(part[places] for part in output.feature_maps)
        return output

    with ExitStack() as hooks:
        if len(frames) < len(places):
            for name in FRAMEWISE.get(model.config.model_type, ()):
                part = model.get_submodule(name)
                hooks.callback(part.register_forward_pre_hook(narrow).remove)
                hooks.callback(part.register_forward_hook(widen).remove)
        yield
