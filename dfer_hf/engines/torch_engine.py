"""Let a torch model answer face crops, from any number of threads and processes."""

import itertools
import os
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch

from ..explain import layer_cam
from ..models.modeling_dfer import DferOutput, DferPreTrainedModel, use_channels_last

_IMPORTED_IN = os.getpid()
# Torch's threads wait for each other less often than with one at a time.
_CLIPS_PER_BATCH = 2


@dataclass(frozen=True)
class ClipAnswers:
    """What the model says of clips of one face, as arrays; all probabilities are before the checkpoint's temperature.

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
    def join(cls, parts: Sequence["ClipAnswers"]) -> "ClipAnswers":
        """Put batches of clips together."""
        names = (entry.name for entry in fields(cls))
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


class TorchEngine:
    """A model in evaluation and its processor.

    One call runs at a time, since explaining hooks into the model.
    """

    def __init__(self, model: DferPreTrainedModel, processor: Any) -> None:
        self.model, self.processor = model.eval(), processor
        if model.device.type == "cpu":
            use_channels_last(model)
        self._lock, self._process = threading.Lock(), os.getpid()

    def __getstate__(self) -> dict[str, Any]:
        return {"model": self.model, "processor": self.processor}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)

    def settle(self) -> None:
        """Get ready for work in this process, which may have been forked from the one that loaded the model.

        Torch's threads do not come along, and asking for them would wait forever; a lock that was held stays so.
        """
        if os.getpid() != _IMPORTED_IN:
            torch.set_num_threads(1)
        if os.getpid() != self._process:
            self._lock, self._process = threading.Lock(), os.getpid()

    def answer(self, clips: Iterable[np.ndarray], *, explain: bool = False) -> ClipAnswers:
        """Answer clips, each uint8 of shape `(frames, 112, 112, 3)`, with heat maps if asked for."""
        remaining, parts = iter(clips), []
        while batch := list(itertools.islice(remaining, 1 if explain else _CLIPS_PER_BATCH)):
            parts.append(self._answer(batch, explain))
        return ClipAnswers.join(parts)

    def encode(self, crops: np.ndarray) -> torch.Tensor:
        """Encode crops `(frames, 112, 112, 3)` one by one, `(frames, features)`; see the model's `encode_frames`."""
        with self._lock, torch.inference_mode():
            return self.model.encode_frames(self._pixel_values([crops])).cpu()[0]

    def answer_encoded(self, encoded: Sequence[torch.Tensor], *, frames_per_second: float | None) -> ClipAnswers:
        """Answer one clip whose frames were encoded part by part, as if it had been given whole."""
        with self._lock, torch.inference_mode():
            whole = torch.cat(list(encoded))[None].to(self.model.device)
            output = self.model.answer_encoded(whole, frames_per_second=frames_per_second)
        return _to_arrays(output, None)

    def decide(self, probabilities: np.ndarray) -> np.ndarray:
        """Index of the class that answers, `(...,)`, of probabilities before the temperature, `(..., labels)`."""
        logits = torch.from_numpy(probabilities).clamp_min(torch.finfo(torch.float32).tiny).log()
        return self.model.decide(logits).numpy()

    def _answer(self, clips: list[np.ndarray], explain: bool) -> ClipAnswers:
        # Gradients need tensors that no caller's inference mode has touched.
        with self._lock, torch.inference_mode(not explain):
            pixel_values = self._pixel_values(clips)
            if explain:
                maps, output = layer_cam(self.model, pixel_values)
                return _to_arrays(output, maps)
            return _to_arrays(self.model(pixel_values_videos=pixel_values), None)

    def _pixel_values(self, clips: list[np.ndarray]) -> torch.Tensor:
        inputs = self.processor(clips, input_data_format="channels_last", return_tensors="pt")
        return inputs["pixel_values_videos"].to(self.model.device, self.model.dtype)


def _to_arrays(output: DferOutput, maps: torch.Tensor | None) -> ClipAnswers:
    logits, coarse_logits, frame_logits, frame_weights = (
        part.detach().float().cpu()
        for part in (output.logits, output.coarse_logits, output.frame_logits, output.frame_weights)
        if part is not None
    )
    return ClipAnswers(
        logits.softmax(dim=-1).numpy(),
        coarse_logits.softmax(dim=-1).numpy(),
        frame_logits.softmax(dim=-1).numpy(),
        frame_weights.numpy(),
        (torch.empty(*frame_weights.shape, 0, 0) if maps is None else maps.cpu()).numpy(),
    )
