"""Look at files and analyse them in processes of their own: what a page shows, as plain values."""

import logging
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .faces import NoFaceFoundError
from .job_limits import usable_cores
from .language import translate_page
from .shown_answer import ShownAnswer, ShownComparison, ShownFace
from .video import DEFAULT_LIMITS, Frame, FrameSpool, VideoError, VideoLimits, VideoTooLargeError, probe
from .waiting_line import WaitingLine
from .worker import JobCancelledError, JobLimits, JobRefusedError, JobRunner, Report

if TYPE_CHECKING:
    from .predictor import VideoPredictor

logger = logging.getLogger(__name__)

OVERLAY_SIDE = 720
OVERLAY_NAME, JSON_NAME, CSV_NAME, REPORT_NAME = "overlay.webm", "prediction.json", "prediction.csv", "report.html"
PLAIN_NAME = "plain.webm"
"""The overlay without heat maps or sound, which a page lays over the one with them to fade them."""

OVERLAY_ID, PREVIEW_ID = "overlay", "preview"
"""What the page calls its parts that play the answer and the upload, in which timelines seek."""

MAX_PIXELS = 16_000_000_000
"""What one file may show in all its frames together: two minutes of 1080p at 60 frames a second."""

LOOKING = JobLimits(wall_seconds=20.0, cpu_seconds=5.0, memory_bytes=500_000_000)
MAX_LOOKS = 4
# What an analysis may take of all cores together, and more for each second of the video. A second of 1080p at 60
# frames takes two on an old server.
START_SECONDS, SECONDS_PER_SECOND = 30.0, 8.0


class AnalysisWorkers:
    """Analyses files in processes of their own, a few at a time, for any number of threads.

    Args:
        checkpoints: Name to what `VideoPredictor.from_pretrained` takes.
        limits: What to refuse.
        max_pixels: How many pixels the frames of a file may have together.
        at_once: How many files are analysed at the same time.
    """

    def __init__(
        self,
        checkpoints: Mapping[str, str | Path],
        *,
        limits: VideoLimits = DEFAULT_LIMITS,
        max_pixels: int = MAX_PIXELS,
        at_once: int = 1,
    ) -> None:
        self.names, self.limits, self.max_pixels = list(checkpoints), limits, max_pixels
        self._checkpoints = dict(checkpoints)
        self._runner = JobRunner(load_predictors, dict(checkpoints))
        self._looks = threading.BoundedSemaphore(MAX_LOOKS)
        self._turns = WaitingLine(at_once)

    def start(self) -> None:
        """Load the checkpoints, and return when they are loaded.

        Raises:
            JobRefusedError: If one of them cannot be used.
        """
        self._runner.start()

    def close(self) -> None:
        """Stop everything."""
        self._runner.close()

    def watch_camera(self, name: str, limits: JobLimits) -> AbstractContextManager[Callable[[bytes], dict[str, Any]]]:
        """What answers the pictures of a camera at once, while files are analysed in their turn; see `live.watch`."""
        return self._runner.talk(_watch_camera, name, limits=limits)

    def look_at(self, video: str | Path) -> float:
        """Read the header of a file; return how many seconds it may last.

        Raises:
            JobRefusedError: If the file is bad or over the limits.
        """
        with self._looks:
            return self._runner.run(_look_at, str(video), self.limits, self.max_pixels, limits=LOOKING)

    def analyse(
        self,
        name: str,
        video: str | Path,
        folder: Path,
        *,
        heat_map: bool,
        on_progress: Report,
        cancelled: threading.Event,
        target: str | None = None,
        instead_of: str | None = None,
        language: str = "en",
    ) -> ShownAnswer:
        """Analyse a file when its turn has come; write overlay, JSON, CSV and a report into `folder`.

        Args:
            name: Which checkpoint answers.
            video: The file.
            folder: Where results are written.
            heat_map: Whether to say what the answer rests on.
            on_progress: Called with the share that is done, and what is being done.
            cancelled: Stops the analysis when it is set.
            target: The class or group to explain, the answer where it is left out; asks for a heat map too.
            instead_of: The class or group that the target is compared with, as in "why fear and not surprise".
            language: Of overlay and report, one of `LANGUAGES`; JSON and CSV have the checkpoint's own labels.

        Raises:
            JobRefusedError: If the file is bad, shows no face, or is over the limits, or a name stands for no class
                and no group.
            JobCancelledError: If `cancelled` was set.
        """
        asked = (heat_map, target or None, instead_of or None, language)
        arguments = (name, self._checkpoints[name], str(video), folder, asked)
        return self.in_turn(_analyse, *arguments, video=video, on_progress=on_progress, cancelled=cancelled)

    def compare(
        self,
        names: Sequence[str],
        video: str | Path,
        folder: Path,
        *,
        on_progress: Report,
        cancelled: threading.Event,
        language: str = "en",
    ) -> ShownComparison:
        """Let several checkpoints answer a file when its turn has come; write JSON and a page into `folder`.

        Raises:
            JobRefusedError: If there are fewer than two names, or as of `analyse`.
            JobCancelledError: If `cancelled` was set.
        """
        if len(names) < 2:
            raise JobRefusedError("Choose two models or more to compare.")
        arguments = ({name: self._checkpoints[name] for name in names}, str(video), folder, language)
        return self.in_turn(
            _compare, *arguments, video=video, on_progress=on_progress, cancelled=cancelled, share=len(names)
        )

    def run_job(self, job: Callable[..., Any], *arguments: Any, seconds: float, **options: Any) -> Any:
        """Do a job whose turn has come, on a video of so many seconds, with the options of `JobRunner.run`."""
        del seconds
        return self._runner.run(job, *arguments, **options)

    def in_turn(
        self,
        job: Callable[..., Any],
        *arguments: Any,
        video: str | Path,
        on_progress: Report,
        cancelled: threading.Event,
        share: int = 1,
    ) -> Any:
        """Do a job on a file when its turn has come, in the time that `share` analyses may take.

        The job is called with the loaded checkpoints, what takes its progress, `arguments`, and the limits of this.

        Raises:
            JobRefusedError: As of `analyse`, and likewise JobCancelledError.
        """
        started, seconds, outcome = time.monotonic(), 0.0, "done"
        try:
            seconds = self.look_at(video)
            allowed = START_SECONDS + share * SECONDS_PER_SECOND * seconds
            with self._turns.take(seconds, on_progress=on_progress, cancelled=cancelled):
                return self.run_job(
                    job,
                    *arguments,
                    self.limits,
                    self.max_pixels,
                    seconds=share * seconds,
                    limits=JobLimits(wall_seconds=2 * allowed, cpu_seconds=allowed),
                    on_progress=on_progress,
                    cancelled=cancelled,
                )
        except (JobRefusedError, JobCancelledError) as error:
            outcome = getattr(error, "name", type(error).__name__)
            raise
        finally:
            # Never what the file is called, or who sent it.
            took = time.monotonic() - started
            logger.info("%s, %.1f s of video: %s in %.1f s", job.__name__.strip("_"), seconds, outcome, took)


def _refuse_more_than(max_pixels: int, pixels: float) -> None:
    if pixels > max_pixels:
        raise JobRefusedError(
            f"Expected at most {max_pixels / 1e9:g} billion pixels in all frames together, got more. "
            "Use a shorter video, or a smaller one.",
            VideoTooLargeError.__name__,
        )


def load_predictors(checkpoints: dict[str, str | Path]) -> "dict[str, VideoPredictor]":
    """Load checkpoints in one thread, to be shared by forked processes.

    Raises:
        JobRefusedError: If one of them cannot be used.
    """
    import torch
    from transformers.utils import logging

    from .predictor import VideoPredictor

    torch.set_num_threads(1)
    # The bar starts a thread.
    logging.disable_progress_bar()
    try:
        return {name: VideoPredictor.from_pretrained(path, device="cpu") for name, path in checkpoints.items()}
    except ValueError as error:
        raise JobRefusedError(str(error)) from error


def _look_at(_predictors: object, _report: Report, video: str, limits: VideoLimits, max_pixels: int) -> float:
    try:
        info = probe(video, limits=limits)
    except VideoError as error:
        raise JobRefusedError(str(error), type(error).__name__) from error
    _refuse_more_than(max_pixels, info.width * info.height * (info.num_frames or 1))
    if info.duration_seconds is not None:
        return info.duration_seconds
    return limits.max_seconds or 3600.0


def _watch_camera(predictors: "dict[str, VideoPredictor]", name: str) -> Callable[[bytes], dict[str, Any]]:
    from .live import watch

    return watch(predictors[name])


def _analyse(
    predictors: "dict[str, VideoPredictor]",
    report: Report,
    name: str,
    checkpoint: str | Path,
    video: str,
    folder: Path,
    asked: tuple[bool, str | None, str | None, str],
    limits: VideoLimits,
    max_pixels: int,
) -> ShownAnswer:
    from .checkpoint_facts import facts_of, versions
    from .explain import Target
    from .visualize import (
        clip_article,
        describe_face,
        explanation_notes,
        name_face,
        page_foot,
        page_head,
        strip_html,
        summarise,
        table_rows,
        thumbnail,
        timeline_html,
        write_overlay,
    )

    # Whatever is left when this process is killed lies where it is deleted.
    tempfile.tempdir = str(folder)
    predictor = with_all_there_is(predictors[name])
    facts = facts_of(predictor, checkpoint)
    heat_map, target, instead_of, language = asked
    explain = predictor.explain_options(heat_map, Target(target, instead_of) if target or instead_of else None)
    with FrameSpool(max_side=OVERLAY_SIDE) as spool, refusals():
        prediction = predictor(
            video,
            explain=explain or False,
            limits=limits,
            progress=lambda share: report(0.6 * share, "Reading the expressions"),
            on_frame=PixelCount(max_pixels, spool.add),
        )
        # The plain one is only there to fade the heat maps, which it has none of.
        layers = [(OVERLAY_NAME, {"sound": video}), (PLAIN_NAME, {"heat_map_opacity": 0.0})]
        layers = layers if explain else layers[:1]
        for number, (layer, options) in enumerate(layers):
            start, part = 0.6 + 0.4 * number / len(layers), 0.4 / len(layers)
            write_overlay(
                spool,
                prediction,
                folder / layer,
                language=language,
                progress=lambda share, start=start, part=part: report(start + part * share, "Drawing the answer"),
                **options,
            )
        article = clip_article(prediction, spool, info=probe(video, limits=limits), checkpoint=facts)
        strips = [strip_html(face, spool, name=name_face(prediction, face)) for face in prediction.faces]
        pictures = [thumbnail(face, spool) for face in prediction.faces]
    page = f"{page_head()}{article}{page_foot([facts], versions=versions())}"
    (folder / REPORT_NAME).write_text(translate_page(page, language), encoding="utf-8")
    (folder / JSON_NAME).write_text(prediction.to_json(), encoding="utf-8")
    (folder / CSV_NAME).write_bytes(prediction.to_csv().encode())
    return ShownAnswer(
        summarise(prediction),
        [
            ShownFace(
                face.track_id,
                describe_face(face),
                face.answer,
                face.fine.label,
                dict(face.fine.probabilities),
                face.coarse.label,
                dict(face.coarse.probabilities),
                # A picture has no time line.
                timeline_html(
                    face,
                    groups=predictor.groups,
                    duration_seconds=prediction.duration_seconds,
                    frame_seconds=prediction.duration_seconds / prediction.num_frames,
                    video=OVERLAY_ID,
                )
                if prediction.num_frames > 1
                else "",
                strip,
                table_rows(face),
                explanation_notes(face),
                picture,
            )
            for face, strip, picture in zip(prediction.faces, strips, pictures, strict=True)
        ],
    )


def _compare(
    predictors: "dict[str, VideoPredictor]",
    report: Report,
    checkpoints: dict[str, str | Path],
    video: str,
    folder: Path,
    language: str,
    limits: VideoLimits,
    max_pixels: int,
) -> ShownComparison:
    from .checkpoint_facts import facts_of, versions
    from .comparison import compare
    from .visualize import COMPARE_TITLE, comparison_article, comparison_html, page_foot, page_head, warning_notes

    tempfile.tempdir = str(folder)
    chosen = [with_all_there_is(predictors[name]) for name in checkpoints]
    with refusals():
        compared = compare(
            chosen,
            video,
            limits=limits,
            progress=lambda share: report(share, "Reading the expressions"),
            on_frame=PixelCount(max_pixels),
        )
    facts = [facts_of(predictor, path) for predictor, path in zip(chosen, checkpoints.values(), strict=True)]
    head, foot = page_head(title=COMPARE_TITLE), page_foot(facts, versions=versions())
    page = translate_page(f"{head}{comparison_article(compared)}{foot}", language)
    (folder / REPORT_NAME).write_text(page, encoding="utf-8")
    (folder / JSON_NAME).write_text(compared.to_json(), encoding="utf-8")
    return ShownComparison(warning_notes(compared.predictions[0]), comparison_html(compared, video=PREVIEW_ID))


class PixelCount:
    """Refuses what shows more pixels than one file may, whatever its header said, and passes frames on."""

    def __init__(self, max_pixels: int, pass_on: Callable[[Frame], None] | None = None) -> None:
        self.max_pixels, self.pass_on, self.decoded = max_pixels, pass_on, 0.0

    def __call__(self, frame: Frame) -> None:
        """Count a frame, and pass it on."""
        self.decoded += frame.rgb.shape[0] * frame.rgb.shape[1] * frame.scale**2
        _refuse_more_than(self.max_pixels, self.decoded)
        if self.pass_on is not None:
            self.pass_on(frame)


@contextmanager
def refusals() -> Iterator[None]:
    """Refuse a file that cannot be read or shows no face, and a target or a method that there is not."""
    from .explain import EmptyContrastError, UnknownMethodError, UnknownTargetError

    try:
        yield
    except (VideoError, NoFaceFoundError, UnknownTargetError, UnknownMethodError, EmptyContrastError) as error:
        raise JobRefusedError(str(error), type(error).__name__) from error


def with_all_there_is(predictor: "VideoPredictor") -> "VideoPredictor":
    """The predictor on the GPU where there is one, which no process may touch before it forks; on all cores else."""
    import torch

    if torch.cuda.is_available():
        torch.nn.Module.to(predictor.model, "cuda")
        return type(predictor)(predictor.model, predictor.processor, name=predictor.name)
    torch.set_num_threads(usable_cores())
    return predictor
