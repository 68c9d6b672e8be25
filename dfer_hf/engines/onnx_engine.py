"""Let ONNX Runtime answer face crops, without torch and transformers."""

import functools
import hashlib
import importlib
import itertools
import json
import os
import threading
from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from ..checkpoints import MANIFEST, CheckpointError
from ..explain import MASKS, ExplainOptions, answer_variants
from ..explain.masks import Steps, mask_maps
from ..faces.detection import MtcnnFaceDetector, Network
from ..video.sampling import Sampling
from .answers import ClipAnswers, ExplainedClip
from .rules import AnswerRules, CropRules

FRAMES, CLIP, DECIDE = "frames.onnx", "clip.onnx", "decide.onnx"
"""What encodes each frame by itself, where the system does so; what answers clips; what decides on a class."""
MTCNN = ("mtcnn_propose.onnx", "mtcnn_refine.onnx", "mtcnn_describe.onnx")
ONNX_FILES = [MANIFEST, FRAMES, CLIP, DECIDE, *MTCNN]
MANIFEST_VERSION = 1

_IMPORTED_IN = os.getpid()
_CLIPS_PER_BATCH = 2
_FRAMES_PER_PASS = 8
_ADVICE = "Export it again with `dfer export --onnx`."


def write_manifest(
    folder: Path, answer_rules: AnswerRules, crop_rules: CropRules, *, system: str, credit: str = ""
) -> None:
    """Write what the graphs do not say, as plain JSON.

    Args:
        folder: Of the graphs.
        answer_rules: Classes and calibration.
        crop_rules: Cropping and sampling.
        system: The `model_type`, for the reader of the file.
        credit: Whose weights go along, likewise.
    """
    content = {
        "version": MANIFEST_VERSION,
        "system": system,
        "credit": credit,
        "answers": asdict(answer_rules),
        "crops": asdict(crop_rules),
    }
    (folder / MANIFEST).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def read_manifest(folder: Path) -> tuple[AnswerRules, CropRules]:
    """Read what `write_manifest` wrote.

    Raises:
        CheckpointError: If it is missing, broken, or of a later version.
    """
    if not (folder / MANIFEST).is_file():
        raise CheckpointError(
            f"Expected ONNX graphs and their {MANIFEST} in the folder {folder.name!r}, but there are none. Write them "
            "with `dfer export --onnx MODEL FOLDER`, and name that folder."
        )
    try:
        content = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if content["version"] != MANIFEST_VERSION:
            raise ValueError(f"version {content['version']!r}, and this dfer_hf knows {MANIFEST_VERSION}")
        answers, crops = (
            _known(kind, content[part]) for kind, part in ((AnswerRules, "answers"), (CropRules, "crops"))
        )
        sampling = Sampling(**crops.pop("sampling"))
        return AnswerRules(**answers), CropRules(**crops, sampling=sampling)
    except (OSError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"Expected what `dfer export --onnx` writes in {MANIFEST}, got {type(error).__name__}: {error}. {_ADVICE}"
        ) from error


def _known(kind: type, content: dict[str, Any]) -> dict[str, Any]:
    """Refuse fields that are missing or unknown."""
    names = {field.name for field in fields(kind)}
    if content.keys() != names:
        raise ValueError(f"other fields than {', '.join(sorted(names))}: {', '.join(sorted(content.keys() ^ names))}")
    return dict(content)


class Graph:
    """A graph that ONNX Runtime runs; picklable, as it is opened again from its file.

    Args:
        path: Of the file.
        num_threads: That run it; 0 for one of each core. One thread is the caller's own.

    Raises:
        ImportError: If ONNX Runtime is not installed.
        CheckpointError: If the file is missing or no such graph.
    """

    def __init__(self, path: Path, *, num_threads: int) -> None:
        try:
            import onnxruntime

            # A module of C, of which no types are known.
            errors: Any = importlib.import_module("onnxruntime.capi.onnxruntime_pybind11_state")
        except ImportError as error:
            raise ImportError(
                'The engine "onnx" needs ONNX Runtime, which is not installed; install it with '
                '`pip install "dfer-hf[onnx]"`.'
            ) from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = num_threads
        # Threads that wait by spinning take the cores from the thread that decodes and finds faces.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        broken = (
            errors.Fail,
            errors.InvalidArgument,
            errors.InvalidGraph,
            errors.InvalidProtobuf,
            errors.RuntimeException,
        )
        try:
            # From bytes, which can name no other file as holding their weights.
            content = path.read_bytes()
            self.session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except (OSError, *broken) as error:
            raise CheckpointError(
                f"Expected a graph that ONNX Runtime can open in {path.name}, got {type(error).__name__}: "
                f"{' '.join(str(error).split())[:300]}. {_ADVICE}"
            ) from error
        self.path, self.num_threads = path, num_threads
        self.inputs = [entry.name for entry in self.session.get_inputs()]
        self.outputs = [entry.name for entry in self.session.get_outputs()]

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "num_threads": self.num_threads}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)

    def __call__(self, *arrays: np.ndarray) -> list[np.ndarray]:
        """Run the graph on its inputs, in their order."""
        # Every output is a tensor.
        return cast(list[np.ndarray], self.session.run(None, dict(zip(self.inputs, arrays, strict=True))))

    @property
    def num_frames(self) -> int | None:
        """Size of the first input's second dimension; None where it may be any."""
        size = self.session.get_inputs()[0].shape[1]
        return size if isinstance(size, int) else None


def mtcnn_detector(folder: Path) -> MtcnnFaceDetector:
    """Make a detector that finds the same faces as the default one, by MTCNN's networks in a folder."""
    return MtcnnFaceDetector(networks=functools.partial(_open_mtcnn, folder))


def _open_mtcnn(folder: Path) -> tuple[Network, Network, Network]:
    # Small work gains little by more threads; and one, which is the caller's own, lives through a fork.
    propose, refine, describe = (Graph(folder / name, num_threads=1) for name in MTCNN)
    return propose, refine, describe


def _threads_wanted() -> int:
    """As many as OMP_NUM_THREADS says, as torch does; 0 for one of each core."""
    first = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return int(first) if first.isdecimal() else 0


class OnnxEngine:
    """The graphs of a folder that `dfer export --onnx` wrote.

    Args:
        folder: Where they are.

    Raises:
        ImportError: If ONNX Runtime is not installed.
        CheckpointError: If the folder is not whole.
    """

    methods = (MASKS,)
    """Names of the methods that need neither gradients nor attention, of which graphs have none."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._lock = folder, threading.Lock()
        self.answer_rules, self.crop_rules = read_manifest(folder)
        self._open()

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)

    def _open(self) -> None:
        # Threads do not come along into a forked process, and one more would wait for them forever.
        self._process, num_threads = os.getpid(), _threads_wanted() if os.getpid() == _IMPORTED_IN else 1
        self._clip = Graph(self.folder / CLIP, num_threads=num_threads)
        self._decide = Graph(self.folder / DECIDE, num_threads=1)
        has_frames = (self.folder / FRAMES).is_file()
        self._frames = Graph(self.folder / FRAMES, num_threads=num_threads) if has_frames else None

    @property
    def takes_any_length(self) -> bool:
        """Whether clips may have any number of frames."""
        return self._clip.num_frames is None

    def digest(self) -> str:
        """Hash of the graphs and of their rules, in hexadecimal."""
        files = (self.folder / name for name in (MANIFEST, FRAMES, CLIP, DECIDE))
        contents = [path.read_bytes() for path in files if path.is_file()]
        return hashlib.sha256(b"".join(contents)).hexdigest()

    def settle(self) -> None:
        """Open the graphs again in a process that was forked from the one that opened them."""
        if os.getpid() != self._process:
            self._lock = threading.Lock()
            self._open()

    def check(self, options: ExplainOptions) -> None:
        """Refuse an explanation that is not offered; see `ExplainOptions.check`."""
        options.check(self.methods, self.answer_rules, offered_by='the engine "onnx"')

    def answer(self, clips: Iterable[np.ndarray]) -> ClipAnswers:
        """Answer clips, each uint8 of shape `(frames, 112, 112, 3)`."""
        remaining, parts = iter(clips), []
        while batch := list(itertools.islice(remaining, _CLIPS_PER_BATCH)):
            with self._lock:
                parts.append(self._answer(np.stack([self._encode(clip) for clip in batch])))
        return ClipAnswers.join(parts)

    def explain(
        self, clip: np.ndarray, options: ExplainOptions, *, left_out: np.ndarray | None = None
    ) -> ExplainedClip:
        """Answer one clip with heat maps, and without frames where `left_out` says so; see `answer_variants`."""
        with self._lock:
            encoded = self._encode(clip)
            answers = self._answer(encoded[None])
            contrast = options.target.resolve(self.answer_rules, self.decide(answers.fine))
            maps = mask_maps(Steps(self._encode, self._log_probabilities), clip, contrast)
            without = self._without(encoded, left_out)
        kept = None if self._frames is None else encoded
        return ExplainedClip(replace(answers, maps=maps[None]), kept, without)

    def encode(self, crops: np.ndarray) -> np.ndarray:
        """Encode crops `(frames, 112, 112, 3)` one by one, `(frames, features)`.

        Raises:
            ValueError: If the system sees its frames together.
        """
        if self._frames is None:
            raise ValueError("Expected a system that sees its frames apart, but this one has no graph for them.")
        with self._lock:
            return self._encode(crops)

    def answer_encoded(
        self, encoded: Sequence[np.ndarray], *, frames_per_second: float | None, left_out: np.ndarray | None = None
    ) -> tuple[ClipAnswers, np.ndarray]:
        """Answer one clip whose frames were encoded part by part, as if it had been given whole.

        Returns:
            The answer, and probabilities without the frames that `left_out` names, `(variants, labels)`.
        """
        with self._lock:
            whole = np.concatenate(list(encoded))
            answers = self._answer(whole[None], frames_per_second=frames_per_second)
            return answers, self._without(whole, left_out, frames_per_second=frames_per_second)

    def decide(self, probabilities: np.ndarray) -> np.ndarray:
        """Index of the class that answers, `(...,)`, of probabilities before the temperature, `(..., labels)`."""
        rows = probabilities.reshape(-1, probabilities.shape[-1]).astype(np.float32)
        (chosen,) = self._decide(rows)
        return chosen.reshape(probabilities.shape[:-1])

    def _without(
        self, encoded: np.ndarray, left_out: np.ndarray | None, *, frames_per_second: float | None = None
    ) -> np.ndarray:
        """Probabilities of one clip without the frames that `left_out` names, `(variants, labels)`."""
        if left_out is None or not len(left_out):
            return np.zeros((0, len(self.answer_rules.label_names)), dtype=np.float32)

        def answer(places: np.ndarray) -> np.ndarray:
            return self._probabilities(encoded[places], frames_per_second=frames_per_second)[None]

        return answer_variants(answer, left_out, num_clips=1, takes_any_length=self.takes_any_length)[0]

    def _log_probabilities(self, clips: np.ndarray) -> np.ndarray:
        """Logarithms of the probabilities of clips, of crops or of encoded frames, `(clips, labels)`."""
        return np.log(self._probabilities(clips).clip(min=np.finfo(np.float32).tiny))

    def _probabilities(self, clips: np.ndarray, *, frames_per_second: float | None = None) -> np.ndarray:
        """Probabilities of any number of clips, a few at a time, `(clips, labels)`."""
        parts = (clips[start : start + _CLIPS_PER_BATCH] for start in range(0, len(clips), _CLIPS_PER_BATCH))
        return np.concatenate([self._answer(part, frames_per_second=frames_per_second).fine for part in parts])

    def _encode(self, crops: np.ndarray) -> np.ndarray:
        """What the system keeps of each crop; the crops themselves where it sees them together.

        A few at a time are encoded as fast as many, in a fraction of the memory.
        """
        graph = self._frames
        if graph is None:
            return crops
        parts = [graph(crops[start : start + _FRAMES_PER_PASS])[0] for start in range(0, len(crops), _FRAMES_PER_PASS)]
        return np.concatenate(parts)

    def _answer(self, clips: np.ndarray, *, frames_per_second: float | None = None) -> ClipAnswers:
        """Run what answers clips, of crops or of encoded frames."""
        # Only systems that look at stretches of time take the rate; 0 stands for the one that they were made for.
        rate = np.array(frames_per_second or 0.0, dtype=np.float32)
        found = dict(zip(self._clip.outputs, self._clip(*(clips, rate)[: len(self._clip.inputs)]), strict=True))
        shape = found["frame_weights"].shape
        movements = found.get("movements", np.zeros((*shape, 0)))
        answers = (found[name] for name in ("fine", "coarse", "frame_fine", "frame_weights"))
        return ClipAnswers(*answers, movements=movements, maps=np.empty((*shape, 0, 0)))
