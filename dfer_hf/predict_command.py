"""What `dfer predict` does; without torch where another engine answers."""

import argparse
import functools
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from tqdm import tqdm

from .explain import MASKS, ExplainOptions, Target
from .file_run import (
    FILE_ERRORS,
    OVERLAY_SIDE,
    FileBar,
    limits_of,
    load_predictor,
    outputs_are_written,
    reason,
    work_through,
)
from .output_files import (
    SCREEN,
    Answer,
    AnswerFile,
    CsvFile,
    JsonFile,
    UsageError,
    check_outputs,
    file_for_each,
    printable,
    text_columns,
)
from .prediction import ClipPrediction, error_row
from .predictor import VideoPredictor
from .video import FrameSpool
from .visualize import length_of, summarise, write_overlay


def predict(options: argparse.Namespace) -> int:
    """Analyse files, print or write the answers, and return the exit code.

    Raises:
        UsageError: If the model, the device or an output cannot be had.
    """
    with outputs_are_written():
        overlays = file_for_each(options.overlay, options.files, (".webm", ".mp4"))
        all_maps = file_for_each(options.maps, options.files, (".npz",))
        check_outputs(options.files, [options.json, options.csv, *overlays.values(), *all_maps.values()])
        predictor, say = load_predictor(options, options.model), _reporter(options)
        explain = _explain_options(options, predictor)
        is_batch = len(options.paths) > 1 or options.files != options.paths
        outputs: list[AnswerFile[Answer]] = [JsonFile(options.json, as_list=is_batch)] if options.json else []
        outputs += [CsvFile(options.csv)] if options.csv else []
        bar = FileBar(len(options.files), is_shown=not options.quiet)
        analyse = functools.partial(predictor, limits=limits_of(options), progress=bar.move)

        def answer_one(file: Path, name: str) -> str:
            target, maps = overlays.get(file), all_maps.get(file)
            with FrameSpool(max_side=OVERLAY_SIDE) if target else nullcontext() as spool:
                answer = _answer(analyse, file, name, spool, explain)
                for output in outputs:
                    output.add(answer)
                error = answer["error"] if isinstance(answer, dict) else ""
                if spool is not None and target and isinstance(answer, ClipPrediction):
                    error = _draw(spool, answer, target, sound=file, progress=bar.move)
                if maps and isinstance(answer, ClipPrediction):
                    error = error or _save_maps(answer, maps)
            say(answer, None if error else target)
            return error

        return work_through(options.files, answer_one, bar, outputs)


def _explain_options(options: argparse.Namespace, predictor: VideoPredictor) -> ExplainOptions | None:
    """How to explain, where any output asks for it; an overlay does where heat maps do not take minutes.

    Raises:
        UsageError: If the model does not offer the method, or has no such class.
    """
    is_asked = options.target is not None or options.instead_of is not None
    draws = options.overlay and predictor.engine.methods[0] != MASKS
    explain = options.explain or bool(options.maps or draws)
    found = predictor.explain_options(explain, Target(options.target, options.instead_of) if is_asked else None)
    try:
        if found is not None:
            predictor.engine.check(found)
    except ValueError as error:
        raise UsageError(str(error)) from error
    return found


def _answer(
    analyse: Callable[..., ClipPrediction],
    file: Path,
    name: str,
    spool: FrameSpool | None,
    explain: ExplainOptions | None,
) -> Answer:
    """Analyse a file; frames are put into the spool where they are to be drawn."""
    try:
        return analyse(file, name=name, explain=explain or False, on_frame=None if spool is None else spool.add)
    except FILE_ERRORS as error:
        return error_row(name, reason(error))


def _draw(spool: FrameSpool, prediction: ClipPrediction, target: Path, **options: Any) -> str:
    """Write the overlay; an error message, or nothing."""
    try:
        write_overlay(spool, prediction, target, **options)
    except FILE_ERRORS as error:
        return f"the overlay could not be written: {reason(error)}"
    return ""


def _save_maps(prediction: ClipPrediction, target: Path) -> str:
    """Write the heat maps; an error message, or nothing."""
    try:
        prediction.save_maps(target)
    except OSError as error:
        return f"the maps could not be written: {reason(error)}"
    return ""


def _reporter(options: argparse.Namespace) -> Callable[[Answer, Path | None], None]:
    """What to print of each answer: a table, or a line where the answer is also written to a file."""
    is_silent = options.quiet or SCREEN in (options.json, options.csv)
    as_line = any((options.json, options.csv, options.overlay, options.maps))
    in_words = any((options.explain, options.target, options.instead_of))

    def say(answer: Answer, overlay: Path | None) -> None:
        nonlocal is_silent
        if is_silent or isinstance(answer, dict):
            return
        try:
            explained = [(face.track_id + 1, face.explanation) for face in answer.faces if in_words]
            words = [f"\n  Face {number}. {found.sentence}" for number, found in explained if found is not None]
            text = _line(answer, overlay) if as_line else _table(answer)
            tqdm.write("".join([text, *words]), file=sys.stdout)
            sys.stdout.flush()
        except BrokenPipeError:
            if not as_line:
                raise
            # The answers still go into the files.
            is_silent = True

    return say


def _line(prediction: ClipPrediction, overlay: Path | None) -> str:
    face = prediction.faces[0]
    others = f"; {len(prediction.faces)} faces, this one seen longest" if len(prediction.faces) > 1 else ""
    drawn = f" -> {printable(str(overlay))}" if overlay else ""
    coarse = f"({face.coarse.label} {face.coarse.confidence:.0%})"
    length = "" if prediction.num_frames == 1 else f" in {prediction.duration_seconds:.1f} s"
    found = f"{face.answer} {face.fine.confidence:.0%} {coarse}{length}"
    notes = (f"  Careful: {printable(warning)}" for warning in prediction.warnings)
    return "\n".join([f"{prediction.source}: {found}{others}{drawn}", *notes])


def _table(prediction: ClipPrediction) -> str:
    rows = [("face", "expression", "", "group", "", "seconds", "seen")]
    for face in prediction.faces:
        fine, coarse = f"{face.fine.confidence:.0%}", f"{face.coarse.confidence:.0%}"
        seconds = f"{face.frames[0].time_seconds:.1f}-{face.frames[-1].time_seconds:.1f}"
        scores = (face.answer, fine, face.coarse.label, coarse)
        rows.append((str(face.track_id + 1), *scores, seconds, f"{face.coverage:.0%}"))
    head = f"{prediction.source}: {length_of(prediction)}, "
    notes = (f"  {printable(note)}" for note in summarise(prediction)[1:])
    return "\n".join([f"{head}answered by {prediction.model}", text_columns(rows), *notes])
