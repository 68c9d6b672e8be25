"""What becomes an ONNX graph, from crops to probabilities, and torch's export of it."""

import logging
import warnings
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers.image_utils import SizeDict

from ..faces.alignment import CROP_SIZE
from ..faces.detection import mtcnn_outputs
from ..faces.video_processing_dfer import DferVideoProcessor, to_luma
from ..models.modeling_dfer import DferOutput, DferPreTrainedModel

OUTPUTS = ("fine", "coarse", "frame_fine", "frame_weights", "movements")
"""Names of what a graph says of clips, in their order; the last is missing where the system learnt no movements."""


class OnnxExportError(ValueError):
    """A system that cannot be written as ONNX graphs, or whose graphs answer otherwise than torch."""


class _Resize(nn.Module):
    """Square images of bytes to another side, as torch resizes them, digit for digit: rows, then columns.

    torch weighs bytes by integers of 16 bits and rounds after either step (`aten/.../UpSampleKernelAVXAntialias.h`),
    which no operator of ONNX does.
    """

    def __init__(self, side: int) -> None:
        super().__init__()
        rows = torch.eye(CROP_SIZE, dtype=torch.float64)[None, None]
        weights = nn.functional.interpolate(rows, (side, CROP_SIZE), mode="bilinear", antialias=True)[0, 0]
        bits = next(bits for bits in range(22, 0, -1) if 0.5 + weights.max() * 2**bits < 2**15)
        self.one = float(2**bits)
        self.weights = nn.Buffer((weights * self.one + 0.5).floor().float())

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Resize uint8 images `(..., 112, 112)`."""
        wide = self._rounded(images.float() @ self.weights.T)
        return self._rounded(self.weights @ wide).to(torch.uint8)

    def _rounded(self, sums: torch.Tensor) -> torch.Tensor:
        return ((sums + self.one / 2) / self.one).floor().clamp(0, 255)


class _Pixels(nn.Module):
    """Crops to what the model sees, by the processor's own rule."""

    def __init__(self, processor: DferVideoProcessor) -> None:
        super().__init__()
        names = ("resample", "do_rescale", "rescale_factor", "do_normalize", "image_mean", "image_std")
        self.settings = {name: getattr(processor, name) for name in names}
        self.processor, side = processor, processor.size["height"]
        self.resize = _Resize(side) if side != CROP_SIZE else nn.Identity()
        # transformers keeps the tensors of mean and deviation; made in tracing they would hold no values.
        self(torch.zeros(1, CROP_SIZE, CROP_SIZE, 3, dtype=torch.uint8))

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        """Scale uint8 crops `(frames, 112, 112, 3)` to pixel values `(frames, 3, side, side)`."""
        images = crops.permute(0, 3, 1, 2)
        images = self.resize(to_luma(images) if self.processor.do_grayscale else images)
        # As clips of one frame side by side: the processor looks into a table for the number of frames of each.
        size = SizeDict(height=images.shape[-2], width=images.shape[-1])
        made = self.processor._preprocess(
            [images[:, None]], do_crop_faces=False, do_grayscale=False, do_resize=False, size=size,
            do_center_crop=False, crop_size=size, **self.settings,
        )  # fmt: skip
        return made["pixel_values_videos"][0][:, 0]


class FrameGraph(nn.Module):
    """Crops `(frames, 112, 112, 3)` to what the system keeps of each frame, `(frames, features)`."""

    def __init__(self, model: DferPreTrainedModel, processor: DferVideoProcessor) -> None:
        super().__init__()
        self.model, self.pixels = model, _Pixels(processor)

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        """Encode crops, a batch of frames."""
        return self.model.encode_frames(self.pixels(crops)[None])[0]


class EncodedClipGraph(nn.Module):
    """What the system kept of each frame, `(clips, frames, features)`, to its answers."""

    def __init__(self, model: DferPreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, encoded: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Answer clips of encoded frames."""
        return _answers(self.model.answer_encoded(encoded))


class EncodedVideoGraph(nn.Module):
    """The same of videos of any length, with their frames a second; 0 stands for what the system was made for."""

    def __init__(self, model: DferPreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, encoded: torch.Tensor, frames_per_second: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Answer videos of encoded frames."""
        own = getattr(self.model.config, "corpus_frames_per_second", 1.0)
        rate: Any = torch.where(frames_per_second > 0, frames_per_second, float(own))
        return _answers(self.model.answer_encoded(encoded, frames_per_second=rate))


class CropClipGraph(nn.Module):
    """Crops `(clips, frames, 112, 112, 3)` to answers, of a system that sees its frames together."""

    def __init__(self, model: DferPreTrainedModel, processor: DferVideoProcessor) -> None:
        super().__init__()
        self.model, self.pixels = model, _Pixels(processor)

    def forward(self, crops: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Answer clips of crops."""
        pixels = self.pixels(crops.flatten(0, 1)).unflatten(0, (-1, crops.shape[1]))
        return _answers(self.model(pixel_values_videos=pixels))


class DecideGraph(nn.Module):
    """Probabilities `(rows, labels)` to the class that answers, by the system's own rule."""

    def __init__(self, model: DferPreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, probabilities: torch.Tensor) -> torch.Tensor:
        """Decide for each row."""
        return self.model.decide(probabilities.clamp_min(torch.finfo(torch.float32).tiny).log())


class MtcnnGraph(nn.Module):
    """Images `(N, height, width, 3)` to the outputs of one of MTCNN's networks."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Answer images of one size."""
        return mtcnn_outputs(self.module, images)


def _answers(output: DferOutput) -> tuple[torch.Tensor, ...]:
    """Probabilities, weights and movements, in the order of `OUTPUTS`."""
    logits = (output.logits, output.coarse_logits, output.frame_logits)
    fine, coarse, frame_fine = (part.float().softmax(dim=-1) for part in logits if part is not None)
    rest = (part for part in (output.frame_weights, output.frame_movements) if part is not None)
    return fine, coarse, frame_fine, *rest


def write_graph(
    module: nn.Module,
    examples: Sequence[torch.Tensor],
    path: Path,
    *,
    outputs: Sequence[str],
    credit: str,
    dynamic: Collection[int] = (0,),
) -> None:
    """Have torch write one graph.

    Args:
        module: What it does.
        examples: Its inputs.
        path: Of the file.
        outputs: Names of what it returns.
        credit: Whose it is, kept in the file.
        dynamic: Dimensions of the first input that may be of any size.

    Raises:
        OnnxExportError: If torch cannot.
    """
    shapes = (dict.fromkeys(dynamic, torch.export.Dim.DYNAMIC), *({} for _ in examples[1:]))
    # It tells of every step of its own, and of each torch function that the next version will name otherwise.
    with warnings.catch_warnings(), torch.no_grad(), quiet_loggers("torch.onnx", "onnxscript", "onnx_ir"):
        warnings.simplefilter("ignore")
        try:
            program = torch.onnx.export(
                module.eval(), tuple(examples), dynamo=True, dynamic_shapes=shapes, output_names=list(outputs),
                verbose=False,
            )  # fmt: skip
        except torch.onnx.OnnxExporterError as error:
            reason = str(error.__cause__ or error).strip().partition("\n")[0]
            raise OnnxExportError(
                f"Expected a system that torch {torch.__version__} can write as {path.name}, but it says: {reason}. "
                'Use the engine "torch" for it.'
            ) from error
    if program is None:
        raise OnnxExportError(f"Expected a graph of torch for {path.name}, got none.")
    program.model.metadata_props["credit"] = credit
    program.save(path)


@contextmanager
def quiet_loggers(*names: str) -> Iterator[None]:
    """Keep libraries from telling of each step of theirs."""
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
