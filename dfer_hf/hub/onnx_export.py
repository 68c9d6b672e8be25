"""Write a checkpoint as ONNX graphs, each kept only after it has answered as torch does."""

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from transformers.image_utils import PILImageResampling

from .. import __version__
from ..engines import AnswerRules, ClipAnswers, CropRules, Engine
from ..engines.onnx_engine import CLIP, DECIDE, FRAMES, MTCNN, ONNX_FILES, Graph, OnnxEngine, write_manifest
from ..engines.torch_engine import TorchEngine
from ..faces.alignment import CROP_SIZE
from ..faces.detection import TorchNetwork, mtcnn_modules
from ..faces.video_processing_dfer import DferVideoProcessor
from ..models.modeling_dfer import DferPreTrainedModel
from .export import refuse_strangers
from .onnx_graphs import (
    OUTPUTS,
    CropClipGraph,
    DecideGraph,
    EncodedClipGraph,
    EncodedVideoGraph,
    FrameGraph,
    MtcnnGraph,
    OnnxExportError,
    write_graph,
)

MOST_DIFFERENCE = {"single": 1e-4, "half": 1e-2, "int8": 0.1}
"""Ways to store weights, and how far a probability, a weight or a movement may be from torch's with each.

Answers to noise, by which graphs are compared, differ more than those to faces.
"""
MTCNN_CREDIT = "MTCNN (Zhang et al. 2016) with the weights of facenet-pytorch 2.5.3 (MIT license, Timothy Esler)"

_OTHER_LENGTHS = (1, 5, 23)


def export_onnx(
    model: DferPreTrainedModel, processor: DferVideoProcessor, folder: Path, *, weights: str = "single"
) -> list[Path]:
    """Write graphs and a plain JSON file, from which the engine "onnx" answers without torch.

    What encodes each frame by itself and what answers from that are graphs of their own, where the system has the two
    steps. They take crops as they are cut out, with the processor's scaling inside, and say probabilities before the
    checkpoint's temperature. MTCNN's networks go along.

    Args:
        model: The system.
        processor: Its video processor.
        folder: Where to; made if missing.
        weights: How the system's are stored, one of `MOST_DIFFERENCE`.

    Returns:
        The files, sorted.

    Raises:
        ImportError: If `onnx`, `onnxscript` or `onnxruntime` is not installed.
        ValueError: If the folder holds anything else.
        OnnxExportError: If torch cannot write a graph, or one answers otherwise than the system.
    """
    _check_libraries()
    if not processor.do_resize or processor.resample != PILImageResampling.BILINEAR:
        raise OnnxExportError(
            f"Expected a processor with do_resize=True and resample={PILImageResampling.BILINEAR:d}, got do_resize="
            f"{processor.do_resize} and resample={processor.resample:d}. Its graphs would resize otherwise."
        )
    refuse_strangers(folder, set(ONNX_FILES))
    model = model.eval()
    with TemporaryDirectory() as place:
        written = Path(place)
        _write_system(model, processor, written)
        answers, crops = AnswerRules.of(model.config), CropRules.of(processor)
        write_manifest(written, answers, crops, system=str(model.config.model_type), credit=MTCNN_CREDIT)
        if weights != "single":
            # It needs onnx, which is of an extra.
            from .onnx_weights import shrink_weights

            for name in (FRAMES, CLIP):
                if (written / name).is_file():
                    shrink_weights(written / name, weights)
        _check_system(TorchEngine(model, processor), OnnxEngine(written), MOST_DIFFERENCE[weights])
        _write_mtcnn(written)
        folder.mkdir(parents=True, exist_ok=True)
        for name in ONNX_FILES:
            (folder / name).unlink(missing_ok=True)
        files = sorted(folder / path.name for path in written.iterdir())
        for file in files:
            file.write_bytes((written / file.name).read_bytes())
    return files


def _check_libraries() -> None:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"Writing ONNX graphs needs {error.name}, which is not installed; install it with "
            '`pip install "dfer-hf[onnx-export]"`.'
        ) from error


def _write_system(model: DferPreTrainedModel, processor: DferVideoProcessor, folder: Path) -> None:
    """Write the graphs of a system, with batches of any size, and of any number of frames where it reads in order."""
    num_frames = model.config.num_frames
    crops = torch.randint(0, 256, (2, num_frames, CROP_SIZE, CROP_SIZE, 3), dtype=torch.uint8)
    num_outputs = len(OUTPUTS) - (not AnswerRules.of(model.config).blendshape_names)
    credit = f"dfer_hf {__version__}"
    answers = {"outputs": OUTPUTS[:num_outputs], "credit": credit}
    if model.sees_frames_apart:
        frames = FrameGraph(model, processor)
        with torch.no_grad():
            encoded = frames(crops.flatten(0, 1)).unflatten(0, (2, num_frames))
        write_graph(frames, [crops[0]], folder / FRAMES, outputs=["encoded"], credit=credit)
        if model.takes_any_length:
            video = [encoded, torch.tensor(25.0)]
            write_graph(EncodedVideoGraph(model), video, folder / CLIP, dynamic={0, 1}, **answers)
        else:
            write_graph(EncodedClipGraph(model), [encoded], folder / CLIP, **answers)
    else:
        write_graph(CropClipGraph(model, processor), [crops], folder / CLIP, **answers)
    rows = torch.full((3, len(model.config.label_names)), 0.5)
    write_graph(DecideGraph(model), [rows], folder / DECIDE, outputs=["class"], credit=credit)


def _write_mtcnn(folder: Path) -> None:
    """Write MTCNN's networks: the first for images of any size, the others for crops of one.

    Raises:
        OnnxExportError: If one answers otherwise than torch's.
    """
    generator = np.random.default_rng(0)
    for name, module, sides in zip(MTCNN, mtcnn_modules(), ((30, 41), (24, 24), (48, 48)), strict=True):
        images = generator.integers(0, 256, (2, *sides, 3), dtype=np.uint8)
        is_first = name == MTCNN[0]
        write_graph(
            MtcnnGraph(module), [torch.from_numpy(images)], folder / name, credit=MTCNN_CREDIT,
            outputs=["shifts", "scores"] if name != MTCNN[2] else ["shifts", "points", "scores"],
            dynamic={0, 1, 2} if is_first else {0},
        )  # fmt: skip
        others = [(1, 12, 12, 3), (3, 97, 64, 3)] if is_first else [(1, *sides, 3), (7, *sides, 3)]
        graph, network = Graph(folder / name, num_threads=1), TorchNetwork(module, "cpu")
        for shape in [images.shape, *others]:
            pixels = generator.integers(0, 256, shape, dtype=np.uint8)
            for own, expected in zip(graph(pixels), network(pixels), strict=True):
                _compare(f"{name} of {shape}", own, expected, MOST_DIFFERENCE["single"])


def _check_system(expected: Engine, graphs: Engine, most_difference: float) -> None:
    """Compare what two engines say of clips: one, several, and of other lengths where any is taken.

    Raises:
        OnnxExportError: If they differ.
    """
    generator = np.random.default_rng(0)
    num_frames, num_labels = expected.answer_rules.num_frames, len(expected.answer_rules.label_names)

    def crops(length: int) -> np.ndarray:
        return generator.integers(0, 256, (length, CROP_SIZE, CROP_SIZE, 3), dtype=np.uint8)

    def compare(what: str, answer: Callable[[Engine], ClipAnswers]) -> None:
        own, of_torch = answer(graphs), answer(expected)
        for field in fields(ClipAnswers):
            _compare(
                f"{field.name} of {what}", getattr(own, field.name), getattr(of_torch, field.name), most_difference
            )

    for count in (1, 3):
        clips = [crops(num_frames) for _ in range(count)]
        compare(f"{count} clips", lambda engine, clips=clips: engine.answer(clips))
    if expected.takes_any_length:
        for length in _OTHER_LENGTHS:
            video = crops(length)
            for rate in (None, 25.0):
                compare(
                    f"{length} frames",
                    lambda engine, video=video, rate=rate: engine.answer_encoded(
                        [engine.encode(video)], frames_per_second=rate
                    )[0],
                )
    rows = generator.dirichlet(np.ones(num_labels), 64)
    _compare("decisions", graphs.decide(rows), expected.decide(rows), 0)


def _compare(what: str, own: np.ndarray, expected: np.ndarray, most_difference: float) -> None:
    if own.shape != expected.shape:
        raise OnnxExportError(f"Expected {what} of shape {expected.shape} from ONNX Runtime, got {own.shape}.")
    difference = float(np.abs(own - expected).max(initial=0.0))
    # NaN is not below either.
    if not difference <= most_difference:
        raise OnnxExportError(
            f"Expected {what} from ONNX Runtime as from torch, within {most_difference:g}, but they differ by "
            f'{difference:.2g}. Nothing was written; use the engine "torch" for this system.'
        )
