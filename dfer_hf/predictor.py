"""From a video to an explained prediction."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .checkpoints import CheckpointError, fetch_checkpoint, find_checkpoint, load_checkpoint
from .engines import Engine
from .explain import ExplainOptions, Target
from .face_reader import FaceReader, InOrderReader, WindowReader
from .faces import FaceDetector, MtcnnFaceDetector
from .faces.crop_stream import crop_settings
from .prediction import ClipPrediction
from .prediction_run import predict_together
from .video import DEFAULT_LIMITS, Frame, VideoLimits

if TYPE_CHECKING:
    import torch

    from .models.modeling_dfer import DferPreTrainedModel

ENGINES = ("torch", "onnx")
"""What can answer: the system itself, or ONNX graphs of it, which need neither torch nor transformers."""


class VideoPredictor:
    """Finds the faces of a video and says what each shows, frame by frame and as a whole.

    It may be shared by threads, handed to other processes and used in forked ones.

    Args:
        model: A system of this package.
        processor: Its video processor; how faces are cropped and sampled is in it.
        name: What predictions call the checkpoint.
        detector: What finds the faces; MTCNN where none is given.
        max_analysed_rate: Frames a second that the model looks at, about; the scores of those between are
            interpolated. None looks at every frame, as systems for any number of frames that learn from single ones
            always do.

    Raises:
        CheckpointError: If the model is none of this package, or its faces are aligned otherwise than here.
    """

    def __init__(
        self,
        model: "DferPreTrainedModel",
        processor: Any,
        *,
        name: str,
        detector: FaceDetector | None = None,
        max_analysed_rate: float | None = 15.0,
    ) -> None:
        from .engines.torch_engine import TorchEngine
        from .models.modeling_dfer import DferPreTrainedModel

        alignment = getattr(processor, "alignment", None)
        if not isinstance(model, DferPreTrainedModel) or alignment != "arcface_112":
            raise CheckpointError(
                f"Expected a system of this package with faces aligned as 'arcface_112', but {name} is a "
                f"{type(model).__name__} and wants {alignment!r}. Use a checkpoint made for this package."
            )
        detector = detector or MtcnnFaceDetector(device=str(model.device))
        self._settle_on(TorchEngine(model, processor), name, detector, max_analysed_rate)

    def _settle_on(self, engine: Engine, name: str, detector: FaceDetector, max_analysed_rate: float | None) -> None:
        if max_analysed_rate is not None and not max_analysed_rate > 0:
            raise ValueError(
                f"Expected `max_analysed_rate` above 0, or None for every frame, got {max_analysed_rate}."
            )
        self.engine, self.name, self.detector = engine, name, detector
        self.max_analysed_rate = max_analysed_rate

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path,
        *,
        engine: str = "torch",
        device: "str | torch.device | None" = None,
        dtype: "torch.dtype | None" = None,
        revision: str = "main",
        token: str | bool | None = None,
        detector: FaceDetector | None = None,
        max_analysed_rate: float | None = 15.0,
    ) -> "VideoPredictor":
        """Load a checkpoint.

        Args:
            name_or_path: A checkpoint that ships with the package, a folder, or a Hub id; for the engine "onnx" a
                folder or a Hub id that `dfer export --onnx` has written.
            engine: What answers: "torch", or "onnx" for ONNX Runtime, which imports neither torch nor transformers,
                runs on the CPU, and explains by masks alone, which takes minutes.
            device: Where to run torch; a GPU where there is one.
            dtype: In which precision torch runs; float32 where it is left out.
            revision: Of the Hub repository.
            token: Of the Hub, for a private repository.
            detector: What finds the faces; MTCNN where none is given.
            max_analysed_rate: Frames a second that the model looks at, about.

        Raises:
            CheckpointError: If the name stands for nothing, or the checkpoint is not whole.
            ImportError: If the engine is not installed.
            ValueError: If there is no such engine, or it does not run on the device or in the precision.
        """
        if engine not in ENGINES:
            raise ValueError(f"Expected an engine, one of {', '.join(ENGINES)}, got {engine!r}.")
        if engine == "onnx":
            if str(device or "cpu") != "cpu" or dtype is not None:
                raise ValueError(
                    f'Expected the CPU and no precision for the engine "onnx", got {device} and {dtype}. Leave them '
                    'out, or use the engine "torch".'
                )
            from .engines.onnx_engine import ONNX_FILES, OnnxEngine, mtcnn_detector

            found = find_checkpoint(name_or_path)
            folder, name = fetch_checkpoint(found, ONNX_FILES, revision=revision, token=token)
            predictor = cls.__new__(cls)
            predictor._settle_on(OnnxEngine(folder), name, detector or mtcnn_detector(folder), max_analysed_rate)
            return predictor
        import torch

        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        loaded = load_checkpoint(name_or_path, revision=revision, token=token, device=device, dtype=dtype)
        return cls(
            loaded.model, loaded.processor, name=loaded.name, detector=detector, max_analysed_rate=max_analysed_rate
        )

    @property
    def model(self) -> "DferPreTrainedModel":
        """The system, where torch runs it.

        Raises:
            AttributeError: If another engine does.
        """
        return self._of_torch("model")

    @property
    def processor(self) -> Any:
        """Its video processor, where torch runs it.

        Raises:
            AttributeError: If another engine does.
        """
        return self._of_torch("processor")

    def _of_torch(self, name: str) -> Any:
        part = getattr(self.engine, name, None)
        if part is None:
            raise AttributeError(f'Expected the engine "torch", which alone has a {name}; {self.name} runs otherwise.')
        return part

    @property
    def labels(self) -> list[str]:
        """Fine classes in the order of their index."""
        return list(self.engine.answer_rules.label_names)

    @property
    def groups(self) -> dict[str, list[str]]:
        """Coarse class to its fine classes."""
        return {name: list(labels) for name, labels in self.engine.answer_rules.groups.items()}

    def __call__(
        self,
        source: Any,
        *,
        explain: bool | str | ExplainOptions = False,
        target: Target | str | None = None,
        limits: VideoLimits = DEFAULT_LIMITS,
        frames_per_second: float | None = None,
        name: str | None = None,
        progress: Callable[[float], None] | None = None,
        on_frame: Callable[[Frame], None] | None = None,
    ) -> ClipPrediction:
        """Analyse a video, a still image, or frames.

        Frames are decoded, tracked and answered as a stream: memory does not grow with the length of the video, but
        for what is said of each frame. Where every face lies on its side or is upside down, or none is found, the
        video is turned and analysed again, and a warning says so.

        Args:
            source: A path, the bytes of a file, a binary file, a PIL picture, RGB frames as an array or list, or an
                iterator of frames; see `dfer_hf.video.sources.open_source`.
            explain: Whether to say what the answer rests on: where in each frame, by heat maps, and what it loses
                without each; by the name of another method, one of `engine.methods`, for other heat maps.
            target: What to explain: a class or a group, or `Target("fear", "surprise")` for why one and not another;
                the answer when left out, where the heat maps of each window of a long video show the answer to that
                window. It asks for an explanation too.
            limits: What to refuse of files.
            frames_per_second: Rate of frames that are given as arrays.
            name: What the prediction calls the source; the file's name when left out.
            progress: Called now and then with the share of the video that is done, from 0 to 1; may raise to stop.
            on_frame: Called with every frame that was read, in order, from the thread that reads.

        Raises:
            VideoError: If the file is missing, too large, or no video; see `dfer_hf.video`.
            NoFaceFoundError: If no face is found in any frame.
            UnknownMethodError: If the engine does not offer the method.
            UnknownTargetError: If the system has no such class and no such group.
            ValueError: If the source is none of these.
        """
        (prediction,) = predict_together(
            [self],
            source,
            explain=self.explain_options(explain, target),
            limits=limits,
            frames_per_second=frames_per_second,
            name=name,
            progress=progress,
            on_frame=on_frame,
        )
        return prediction

    def explain_options(
        self, explain: bool | str | ExplainOptions, target: Target | str | None = None
    ) -> ExplainOptions | None:
        """Read how to explain, as of a call; nothing where that is not asked for."""
        return ExplainOptions.of(explain, target, default=self.engine.methods[0])

    @property
    def settings(self) -> dict[str, Any]:
        """How faces are found, cropped and sampled, as recorded in every prediction."""
        crops, answers = self.engine.crop_rules, self.engine.answer_rules
        return crop_settings(self.detector, low_light=crops.low_light) | {
            "alignment": crops.alignment,
            "window_seconds": crops.window_seconds,
            "num_frames": answers.num_frames,
            "max_analysed_rate": self.max_analysed_rate,
            "temperature": answers.temperature,
        }

    def new_reader(self, **options: Any) -> FaceReader:
        """What reads the face of a person who was not seen before, with the options of `FaceReader`."""
        sampling = self.engine.crop_rules.sampling
        if sampling.every_frame:
            return InOrderReader(self.engine, sampling, **options)
        seconds, rate = self.engine.crop_rules.window_seconds, self.max_analysed_rate
        return WindowReader(self.engine, sampling, window_seconds=seconds, max_analysed_rate=rate, **options)
