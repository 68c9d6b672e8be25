"""Let a torch model answer face crops, from any number of threads and processes."""

import hashlib
import itertools
import json
import os
import threading
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch

from ..explain import MASKS, ExplainOptions, answer_without, explain_places, methods_for
from ..explain.mask_evidence import mask_evidence
from ..explain.spatial import refuse_unoffered
from ..models.modeling_dfer import DferOutput, DferPreTrainedModel, use_channels_last
from .answers import ClipAnswers, ExplainedClip
from .rules import AnswerRules, CropRules

_IMPORTED_IN = os.getpid()
_SCALING = ("size", "rescale_factor", "image_mean", "image_std", "do_grayscale")
"""Fields of a processor that decide how a crop becomes what the model takes."""
# Torch's threads wait for each other less often than with one at a time.
_CLIPS_PER_BATCH = 2


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

    @property
    def answer_rules(self) -> AnswerRules:
        """Classes and calibration, as the model's configuration has them now."""
        return AnswerRules.of(self.model.config)

    @property
    def crop_rules(self) -> CropRules:
        """Cropping and sampling, as the processor has them now."""
        return CropRules.of(self.processor)

    @property
    def takes_any_length(self) -> bool:
        """Whether clips may have another number of frames than the configuration's."""
        return self.model.takes_any_length

    @property
    def methods(self) -> list[str]:
        """Names of the methods that the model offers, the default first."""
        return methods_for(self.model)

    def check(self, options: ExplainOptions) -> None:
        """Refuse an explanation that the model does not offer; see `ExplainOptions.check`."""
        refuse_unoffered(options, self.model)

    def digest(self) -> str:
        """Hash of all weights, of what the configuration changes and of how pixels are scaled, in hexadecimal."""
        config = self.model.config
        said, usual = ({name: getattr(of, name) for name in config.own_fields()} for of in (config, type(config)()))
        # Not what is as it always was: a later version may have more of that.
        said = {name: value for name, value in said.items() if value != usual[name]}
        scaled = {name: getattr(self.processor, name) for name in _SCALING}
        found = hashlib.sha256(json.dumps([said, scaled], sort_keys=True, default=str).encode())
        for name, tensor in sorted(self.model.state_dict().items()):
            found.update(name.encode())
            found.update(tensor.cpu().contiguous().numpy().tobytes())
        return found.hexdigest()

    def settle(self) -> None:
        """Get ready for work in this process, which may have been forked from the one that loaded the model.

        Torch's threads do not come along, and asking for them would wait forever; a lock that was held stays so.
        """
        if os.getpid() != _IMPORTED_IN:
            torch.set_num_threads(1)
        if os.getpid() != self._process:
            self._lock, self._process = threading.Lock(), os.getpid()

    def answer(self, clips: Iterable[np.ndarray]) -> ClipAnswers:
        """Answer clips, each uint8 of shape `(frames, 112, 112, 3)`, without heat maps."""
        remaining, parts = iter(clips), []
        while batch := list(itertools.islice(remaining, _CLIPS_PER_BATCH)):
            with self._lock, torch.inference_mode():
                parts.append(_to_arrays(self.model(pixel_values_videos=self._pixel_values(batch)), None))
        return ClipAnswers.join(parts)

    def explain(
        self, clip: np.ndarray, options: ExplainOptions, *, left_out: np.ndarray | None = None
    ) -> ExplainedClip:
        """Answer one clip with heat maps, and without frames where `left_out` says so; see `answer_without`."""
        # Gradients need tensors that no caller's inference mode has touched.
        with self._lock, torch.inference_mode(False):
            pixel_values = self._pixel_values([clip])
            if options.method == MASKS:
                # Covered as crops, so that every engine sees the same.
                found = mask_evidence(self.model, clip[None], self._pixel_values, options.target)
            else:
                found = explain_places(self.model, pixel_values, options.target, method=options.method)
            without = self._without(pixel_values if found.encoded is None else found.encoded, left_out)
        encoded = None if found.encoded is None else found.encoded[0].cpu()
        return ExplainedClip(_to_arrays(found.output, found.maps), encoded, without)

    def encode(self, crops: np.ndarray) -> torch.Tensor:
        """Encode crops `(frames, 112, 112, 3)` one by one, `(frames, features)`; see the model's `encode_frames`."""
        with self._lock, torch.inference_mode():
            return self.model.encode_frames(self._pixel_values([crops])).cpu()[0]

    def answer_encoded(
        self, encoded: Sequence[torch.Tensor], *, frames_per_second: float | None, left_out: np.ndarray | None = None
    ) -> tuple[ClipAnswers, np.ndarray]:
        """Answer one clip whose frames were encoded part by part, as if it had been given whole.

        Returns:
            The answer, and probabilities without the frames that `left_out` names, `(variants, labels)`.
        """
        with self._lock, torch.inference_mode():
            whole = torch.cat(list(encoded))[None].to(self.model.device)
            output = self.model.answer_encoded(whole, frames_per_second=frames_per_second)
            return _to_arrays(output, None), self._without(whole, left_out, frames_per_second=frames_per_second)

    def decide(self, probabilities: np.ndarray) -> np.ndarray:
        """Index of the class that answers, `(...,)`, of probabilities before the temperature, `(..., labels)`."""
        logits = torch.from_numpy(probabilities).clamp_min(torch.finfo(torch.float32).tiny).log()
        return self.model.decide(logits).numpy()

    def _without(
        self, clip: torch.Tensor, left_out: np.ndarray | None, *, frames_per_second: float | None = None
    ) -> np.ndarray:
        """Probabilities of a batch of one clip without the frames that `left_out` names, `(variants, labels)`."""
        if left_out is None or not len(left_out):
            return np.zeros((0, len(self.model.config.label_names)), dtype=np.float32)
        logits = answer_without(self.model, clip, left_out, frames_per_second=frames_per_second)[0]
        return torch.from_numpy(logits).softmax(dim=-1).numpy()

    def _pixel_values(self, clips: Sequence[np.ndarray] | np.ndarray) -> torch.Tensor:
        inputs = self.processor(list(clips), input_data_format="channels_last", return_tensors="pt")
        return inputs["pixel_values_videos"].to(self.model.device, self.model.dtype)


def _to_arrays(output: DferOutput, maps: torch.Tensor | None) -> ClipAnswers:
    logits, coarse_logits, frame_logits, frame_weights = (
        part.detach().float().cpu()
        for part in (output.logits, output.coarse_logits, output.frame_logits, output.frame_weights)
        if part is not None
    )
    movements = output.frame_movements
    return ClipAnswers(
        logits.softmax(dim=-1).numpy(),
        coarse_logits.softmax(dim=-1).numpy(),
        frame_logits.softmax(dim=-1).numpy(),
        frame_weights.numpy(),
        np.zeros((*frame_weights.shape, 0)) if movements is None else movements.detach().cpu().numpy(),
        (torch.empty(*frame_weights.shape, 0, 0) if maps is None else maps.cpu()).numpy(),
    )
