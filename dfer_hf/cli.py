"""What the commands of `dfer` do; `dfer_cli` reads the command line and comes here only when a command runs."""

import argparse
import functools
import sys
import textwrap
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from huggingface_hub import ModelCard
from tqdm import tqdm
from transformers import AutoConfig, AutoModelForVideoClassification
from transformers.utils import logging

from . import systems
from .batch.batch_command import batch
from .checkpoints import CARD, CheckpointError, find_checkpoint, load_checkpoint, shipped_checkpoints
from .complexity import Size, measure_preset
from .convert.convert_command import convert_checkpoint
from .explain import ExplainOptions, Target
from .faces.video_processing_dfer import DferVideoProcessor
from .file_run import (
    FILE_ERRORS,
    OVERLAY_SIDE,
    FileBar,
    limits_of,
    load_predictor,
    outputs_are_written,
    reason,
    sentence,
    work_through,
)
from .hub.export import export_repository
from .hub.push import PushError, collect, prepare_repository, prepare_space, upload_repository
from .hub.space import SpaceError, write_space
from .hub.wheel import NotInstalledError
from .models.configuration_dfer import PrintedSize
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
)
from .prediction import ClipPrediction, error_row
from .predictor import VideoPredictor
from .report_commands import compare, report
from .video import FrameSpool
from .visualize import summarise, write_overlay


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
        is_batch = len(options.paths) > 1 or options.paths[0].is_dir()
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


def list_models(options: argparse.Namespace) -> int:
    """Print the systems and the shipped checkpoints, or the sizes of the systems, and return the exit code.

    Raises:
        UsageError: If the size of an unknown system or preset is asked for, or a shipped checkpoint is broken.
    """
    if options.measure is not None:
        return _print_sizes(options.measure)
    known = {model_class.config_class.model_type: name for name, model_class in systems().items()}
    print("Systems")
    print(_columns([(name, _first_line(model_class.__doc__)) for name, model_class in systems().items()]))
    rows = [("name", "system", "parameters", "size", "description")]
    for name, folder in shipped_checkpoints().items():
        try:
            config = AutoConfig.from_pretrained(folder)
            with torch.device("meta"):
                model = AutoModelForVideoClassification.from_config(config)
        except (OSError, ValueError, ImportError) as error:
            raise UsageError(f"The checkpoint {name!r} cannot be read: {sentence(error)}") from error
        num_parameters = sum(parameter.numel() for parameter in model.parameters())
        size_bytes = sum(file.stat().st_size for file in folder.iterdir() if file.is_file())
        sizes = (f"{num_parameters / 1e6:.1f} M", f"{size_bytes / 1e6:.1f} MB")
        rows.append((name, known[config.model_type], *sizes, _describe(folder, model)))
    print("\nCheckpoints that come with the package")
    print(_columns(rows) if len(rows) > 1 else "  none")
    return 0


def export(options: argparse.Namespace) -> int:
    """Write a Hub repository's folder, print what it holds, and return the exit code.

    Raises:
        UsageError: If there is no such model, or the folder cannot be written.
    """
    logging.disable_progress_bar()
    system, _, preset = options.source.partition(":")
    is_fresh = system in systems()
    try:
        if is_fresh:
            model_class = systems()[system]
            model = model_class(model_class.config_class.from_preset(preset or "paper"))
            side = model.config.image_size
            processor = DferVideoProcessor(
                size={"height": side, "width": side},
                num_frames=model.config.num_frames,
                every_frame=model_class.reads_every_frame,  # pyright: ignore[reportCallIssue]  its own field
            )
            card = None
        else:
            loaded = load_checkpoint(options.source, revision=options.revision, token=options.token)
            model, processor = loaded.model, loaded.processor
            card = Path(find_checkpoint(options.source)) / CARD
            card = card if card.is_file() else None
        files = export_repository(model, processor, options.folder, card=card)
    except (OSError, ValueError, ImportError) as error:
        raise UsageError(f"{options.source!r} cannot be exported: {sentence(error)}") from error
    size_bytes = sum(file.stat().st_size for file in files)
    print(f"{options.folder}: {len(files)} files, {size_bytes / 1e6:.1f} MB")
    print(_columns([(file.name,) for file in files]))
    if is_fresh:
        print("note: the weights are random; train them before anyone is to use them")
    if not any(file.name == CARD for file in files):
        print(f"note: there is no card; write a {CARD} before you upload it")
    return 0


def push(options: argparse.Namespace) -> int:
    """Upload checkpoints to the Hub, or print what would go there, and return the exit code.

    Raises:
        UsageError: If a checkpoint or its card is not fit for it, or the Hub does not take it.
    """
    logging.disable_progress_bar()
    expected = ["NAMESPACE"] if options.all else ["CHECKPOINT", "NAMESPACE"]
    expected = ["FOLDER", "NAMESPACE/NAME"] if options.space else expected
    if len(options.names) != len(expected) or (options.all and (options.space or "/" in options.names[0])):
        raise UsageError(f"Expected {' '.join(expected)}, got {' '.join(options.names)}.")
    sources, target = [*shipped_checkpoints()] if options.all else options.names[:1], options.names[-1]
    try:
        with TemporaryDirectory() as temporary:
            # Nothing is sent before everything has been found fit.
            prepared = (
                [prepare_space(Path(sources[0]), target)]
                if options.space
                else [prepare_repository(source, target, Path(temporary, Path(source).name)) for source in sources]
            )
            for repository in prepared:
                print(f"{repository.repo_id}: {len(repository.files)} files, {repository.num_bytes / 1e6:.1f} MB")
                if options.dry_run:
                    files = [(f.relative_to(repository.folder).as_posix(), f.stat().st_size) for f in repository.files]
                    print(_columns([(name, f"{size:,} bytes") for name, size in files]))
                    continue
                pushed = upload_repository(repository, private=options.private)
                print(f"  {pushed.url}: {len(pushed.sent)} sent, {len(pushed.deleted)} deleted")
                if pushed.left_alone:
                    print(f"  note: others put there, and it stays: {printable(', '.join(pushed.left_alone))}")
        if options.all and not options.dry_run:
            print(f"  {collect([repository.repo_id for repository in prepared], target, private=options.private)}")
    except (CheckpointError, PushError, SpaceError) as error:
        raise UsageError(f"{type(error).__name__}: {sentence(error)}") from error
    return 0


def space(options: argparse.Namespace) -> int:
    """Write the folder of a Space, print what it holds, and return the exit code.

    Raises:
        UsageError: If the folder is something else, or cannot be written.
    """
    try:
        files = write_space(options.folder, hardware=options.hardware, namespace=options.models)
    except (OSError, SpaceError, NotInstalledError) as error:
        raise UsageError(f"{type(error).__name__}: {sentence(error)}") from error
    size_bytes = sum(file.stat().st_size for file in files)
    print(f"{options.folder}: {len(files)} files, {size_bytes / 1e6:.1f} MB")
    print(_columns([(file.relative_to(options.folder).as_posix(),) for file in files]))
    return 0


COMMANDS = {
    "predict": predict,
    "report": report,
    "compare": compare,
    "batch": batch,
    "models": list_models,
    "export": export,
    "convert": convert_checkpoint,
    "push": push,
    "space": space,
}


def _explain_options(options: argparse.Namespace, predictor: VideoPredictor) -> ExplainOptions | None:
    """How to explain, where any output asks for it.

    Raises:
        UsageError: If the model does not offer the method, or has no such class.
    """
    target = None
    if options.target or options.instead_of:
        target = Target(options.target, options.instead_of)
    explain = ExplainOptions.of(options.explain or bool(options.overlay or options.maps), target)
    try:
        if explain is not None:
            explain.check(predictor.model)
    except ValueError as error:
        raise UsageError(str(error)) from error
    return explain


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
    found = f"{face.answer} {face.fine.confidence:.0%} {coarse} in {prediction.duration_seconds:.1f} s"
    notes = (f"  Careful: {printable(warning)}" for warning in prediction.warnings)
    return "\n".join([f"{prediction.source}: {found}{others}{drawn}", *notes])


def _table(prediction: ClipPrediction) -> str:
    rows = [("face", "expression", "", "group", "", "seconds", "seen")]
    for face in prediction.faces:
        fine, coarse = f"{face.fine.confidence:.0%}", f"{face.coarse.confidence:.0%}"
        seconds = f"{face.frames[0].time_seconds:.1f}-{face.frames[-1].time_seconds:.1f}"
        scores = (face.answer, fine, face.coarse.label, coarse)
        rows.append((str(face.track_id + 1), *scores, seconds, f"{face.coverage:.0%}"))
    head = f"{prediction.source}: {prediction.num_frames} frames in {prediction.duration_seconds:.1f} s, "
    notes = (f"  {printable(note)}" for note in summarise(prediction)[1:])
    return "\n".join([f"{head}answered by {prediction.model}", _columns(rows), *notes])


def _print_sizes(names: Sequence[str]) -> int:
    head = ("", "parameters", "printed", "multiply-adds", "printed", "of a frame", "in products", "clip")
    rows: list[tuple[str, ...]] = [head]
    notes = []
    for system, preset in _wanted_presets(names):
        name = f"{system}:{preset}"
        try:
            measured = measure_preset(systems()[system], preset)
        except ImportError as error:  # of a library that only this system needs
            notes.append(textwrap.fill(f"{name}: {error}", 110, subsequent_indent="  "))
            continue
        config, printed = measured.config, measured.printed
        clip = f"{config.num_frames} of {config.image_size}×{config.image_size}"
        rows.append((*_size_cells(name, measured.size, config.num_frames, printed), clip))
        if names:
            for part, size in measured.parts.items():
                rows.append((*_size_cells(f"  {part}", size, config.num_frames), ""))
        if printed is not None:
            notes.append(textwrap.fill(f"{name}: {printed.note}", 110, subsequent_indent="  "))
    legend = (
        "Multiply-adds are those of one clip in convolutions, linear and recurrent layers. Products of batches of "
        "matrices, as in attention, stand apart; norms and the like are not counted. Printed figures are for 16 "
        "frames of 112×112 unless a note says otherwise."
    )
    print("\n".join([_columns(rows), "", textwrap.fill(legend, 110), *notes]))
    return 0


def _wanted_presets(names: Sequence[str]) -> list[tuple[str, str]]:
    """Systems and presets that names stand for: without names all, and never `tiny` unless it is named."""
    wanted = []
    for name in names or systems():
        system, _, preset = name.partition(":")
        presets = systems()[system].config_class.presets if system in systems() else {}
        if not presets or (preset and preset not in presets):
            raise UsageError(f"Unknown system or preset {name!r}: expected one of {', '.join(presets or systems())}.")
        wanted += [(system, preset)] if preset else [(system, key) for key in presets if key != "tiny"]
    return wanted


def _size_cells(name: str, size: Size, num_frames: int, printed: PrintedSize | None = None) -> tuple[str, ...]:
    parameters, multiply_adds = (printed.parameters, printed.multiply_adds) if printed else (None, None)
    return (
        name,
        f"{size.parameters / 1e6:.3f} M",
        "" if parameters is None else f"{parameters:g} M",
        f"{size.layer_multiply_adds / 1e9:.3f} G",
        "" if multiply_adds is None else f"{multiply_adds:g} G",
        f"{size.layer_multiply_adds / num_frames / 1e9:.3f} G",
        f"{size.product_multiply_adds / 1e9:.3f} G",
    )


def _columns(rows: Iterable[Sequence[str]]) -> str:
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _describe(folder: Path, model: torch.nn.Module) -> str:
    """The first sentence of the model card below its title, or what the system is."""
    card = folder / CARD
    if not card.is_file():
        return _first_line(type(model).__doc__)
    paragraphs = ModelCard.load(card).text.split("\n\n")
    first = next((text.strip() for text in paragraphs if text.strip()[:1].isalpha()), "")
    return " ".join(first.split()).partition(". ")[0] or _first_line(type(model).__doc__)


def _first_line(docstring: str | None) -> str:
    return (docstring or "").strip().partition("\n")[0]
