"""What the commands of `dfer` do; `dfer_cli` reads the command line and comes here only when a command runs."""

import argparse
import sys
import textwrap
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import torch
from huggingface_hub import ModelCard
from safetensors import SafetensorError
from tqdm import tqdm
from transformers import AutoConfig, AutoModelForVideoClassification, AutoVideoProcessor
from transformers.utils import logging

from . import systems
from .answer_files import SCREEN, Answer, AnswerFile, CsvFile, JsonFile
from .checkpoints import DEFAULT_CHECKPOINT, find_checkpoint, shipped_checkpoints
from .faces import NoFaceFoundError
from .faces.video_processing_dfer import DferVideoProcessor
from .hub.export import CARD, export_repository
from .measure import Size, measure_preset
from .models.configuration_dfer import PrintedSize
from .prediction import ClipPrediction, error_row
from .predictor import VideoPredictor
from .video import VideoError


class UsageError(ValueError):
    """The command line asks for something that cannot be."""


def predict(options: argparse.Namespace) -> int:
    """Analyse files, print or write the answers, and return the exit code.

    Raises:
        UsageError: If the model, the device or an output cannot be had.
    """
    overlays = _overlay_files(options.overlay, options.files)
    _check_outputs(options, overlays)
    predictor = _load_predictor(options)
    is_batch = len(options.paths) > 1 or options.paths[0].is_dir()
    outputs: list[AnswerFile] = [JsonFile(options.json, as_list=is_batch)] if options.json else []
    outputs += [CsvFile(options.csv)] if options.csv else []
    say = _reporter(options)
    num_failed = 0
    try:
        with ExitStack() as stack:
            for output in outputs:
                stack.enter_context(output)
            bar = stack.enter_context(_FileBar(len(options.files), is_shown=not options.quiet))
            for file, name in zip(options.files, _names(options.files), strict=True):
                answer = _answer(predictor, file, name, explain=bool(overlays), progress=bar.start(name))
                for output in outputs:
                    output.add(answer)
                error = (
                    answer["error"] if isinstance(answer, dict) else _draw(file, answer, overlays.get(file))
                )
                num_failed += bool(error)
                say(answer, overlays.get(file))
                if error:
                    tqdm.write(f"{name}: {error}", file=sys.stderr)
    except OSError as error:
        raise UsageError(f"An output could not be written: {error}. Name another place.") from error
    return 1 if num_failed else 0


def list_models(options: argparse.Namespace) -> int:
    """Print the systems and the shipped checkpoints, or the sizes of the systems, and return the exit code.

    Raises:
        UsageError: If the size of an unknown system or preset is asked for.
    """
    if options.measure is not None:
        return _print_sizes(options.measure)
    known = {model_class.config_class.model_type: name for name, model_class in systems().items()}
    print("Systems")
    print(_columns([(name, _first_line(model_class.__doc__)) for name, model_class in systems().items()]))
    rows = [("name", "system", "parameters", "size", "description")]
    for name, folder in shipped_checkpoints().items():
        config = AutoConfig.from_pretrained(folder)
        with torch.device("meta"):
            model = AutoModelForVideoClassification.from_config(config)
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
                size={"height": side, "width": side}, num_frames=model.config.num_frames
            )
            card = None
        else:
            found = find_checkpoint(options.source)
            model = AutoModelForVideoClassification.from_pretrained(
                found, revision=options.revision, dtype=torch.float32
            )
            processor = AutoVideoProcessor.from_pretrained(found, revision=options.revision)
            card = Path(found) / CARD
        files = export_repository(
            model, processor, options.folder, card=card if card is not None and card.is_file() else None
        )
    except (OSError, ValueError, ImportError, SafetensorError) as error:
        raise UsageError(f"{options.source!r} cannot be exported: {error}") from error
    size_bytes = sum(file.stat().st_size for file in files)
    print(f"{options.folder}: {len(files)} files, {size_bytes / 1e6:.1f} MB")
    print(_columns([(file.name,) for file in files]))
    if is_fresh:
        print("note: the weights are random; train them before anyone is to use them")
    if not any(file.name == CARD for file in files):
        print(f"note: there is no card; write a {CARD} before you upload it")
    return 0


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "predict": predict,
    "models": list_models,
    "export": export,
}


class _FileBar:
    """One bar over all files that also moves within a file; only where a person looks on."""

    def __init__(self, num_files: int, *, is_shown: bool) -> None:
        self.bar = tqdm(
            total=num_files,
            disable=not (is_shown and sys.stderr.isatty()),
            bar_format="{desc} {percentage:3.0f} %|{bar}| {elapsed}, {remaining} left",
            file=sys.stderr,
        )
        self.num_started = 0

    def __enter__(self) -> "_FileBar":
        return self

    def __exit__(self, *unused: object) -> None:
        self.bar.close()

    def start(self, name: str) -> Callable[[float], None]:
        """Begin the next file; returns what to call with the share of it that is done."""
        self.bar.set_description(name, refresh=False)
        first = self.num_started
        self.num_started += 1

        def move(share: float) -> None:
            self.bar.update(first + share - self.bar.n)

        move(0.0)
        return move


def _load_predictor(options: argparse.Namespace) -> VideoPredictor:
    logging.disable_progress_bar()
    device = None if options.device is None else _available_device(options.device)
    name = options.model or DEFAULT_CHECKPOINT
    try:
        return VideoPredictor.from_pretrained(name, device=device, revision=options.revision)
    except (OSError, ValueError, SafetensorError) as error:
        raise UsageError(f"The model {name!r} cannot be loaded: {error}") from error


def _available_device(name: str) -> torch.device:
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"Expected a device such as cpu, cuda or mps, got {name!r}.") from error
    num_devices = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if (device.index or 0) >= num_devices.get(device.type, 0):
        raise UsageError(f"Expected a device of this machine, but it has no {name!r}. Leave --device out.")
    return device


def _answer(
    predictor: VideoPredictor, file: Path, name: str, *, explain: bool, progress: Callable[[float], None]
) -> Answer:
    try:
        prediction = predictor(file, explain=explain, progress=progress)
    except (VideoError, NoFaceFoundError, OSError) as error:
        return error_row(name, _printable(str(error)))
    return replace(prediction, source=name)


def _draw(file: Path, prediction: ClipPrediction, target: Path | None) -> str:
    """Write the overlay, if one is wanted; an error message, or nothing."""
    if target is None:
        return ""
    from .visualize import write_overlay

    partial = target.with_name(f"{target.stem}.partial{target.suffix}")
    try:
        write_overlay(file, prediction, partial)
        partial.replace(target)
    except (VideoError, OSError) as error:
        partial.unlink(missing_ok=True)
        return _printable(f"the overlay could not be written: {error}")
    return ""


def _overlay_files(overlay: Path | None, files: Sequence[Path]) -> dict[Path, Path]:
    """Input to overlay file: the one that was named, or one for each input in the folder that was named."""
    if overlay is None:
        return {}
    if len(files) == 1 and not overlay.is_dir():
        if overlay.suffix.lower() != ".webm":
            raise UsageError(f"Expected an overlay ending in .webm, got {str(overlay)!r}. Name it so.")
        return {files[0]: overlay}
    try:
        overlay.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"Expected a folder for the overlays of {len(files)} files: {error}.") from error
    targets: dict[Path, Path] = {}
    for file in files:
        target, number = overlay / f"{file.stem}.webm", 2
        while target in targets.values():
            target, number = overlay / f"{file.stem}-{number}.webm", number + 1
        targets[file] = target
    return targets


def _check_outputs(options: argparse.Namespace, overlays: dict[Path, Path]) -> None:
    """Refuse outputs that would overwrite an input or each other, or that have no place."""
    outputs = [path for path in (options.json, options.csv, *overlays.values()) if path is not None]
    inputs = {file.resolve() for file in options.files}
    seen: set[Path] = set()
    for path in outputs:
        if path != SCREEN and path.resolve() in inputs:
            raise UsageError(f"The output {str(path)!r} would overwrite an input. Name another file.")
        if path.resolve() in seen:
            raise UsageError(
                f"Two outputs would both be written to {str(path)!r}. Name another file for one."
            )
        if path.is_dir() or not path.parent.is_dir():
            raise UsageError(f"Expected a file in a folder that exists as output, got {str(path)!r}.")
        seen.add(path.resolve())


def _names(files: Sequence[Path]) -> list[str]:
    """What answers call the files: their names, or their paths where several have the same name."""
    names = [file.name for file in files]
    return [
        _printable(name if names.count(name) == 1 else str(file))
        for file, name in zip(files, names, strict=True)
    ]


def _printable(text: str) -> str:
    """Spell out control characters, which could steer a terminal, and bytes of file names that are no text."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )


def _reporter(options: argparse.Namespace) -> Callable[[Answer, Path | None], None]:
    """What to print of each answer: a table, or a line where the answer is also written to a file."""
    is_silent = options.quiet or SCREEN in (options.json, options.csv)
    as_line = any((options.json, options.csv, options.overlay))

    def say(answer: Answer, overlay: Path | None) -> None:
        if is_silent or isinstance(answer, dict):
            return
        text = _line(answer) + (f" -> {overlay}" if overlay else "") if as_line else _table(answer)
        tqdm.write(text, file=sys.stdout)

    return say


def _line(prediction: ClipPrediction) -> str:
    face = prediction.faces[0]
    others = f"; {len(prediction.faces)} faces, this one seen longest" if len(prediction.faces) > 1 else ""
    return (
        f"{prediction.source}: {face.fine.label} {face.fine.confidence:.0%} "
        f"({face.coarse.label} {face.coarse.confidence:.0%}) in {prediction.duration_seconds:.1f} s{others}"
    )


def _table(prediction: ClipPrediction) -> str:
    rows = [("face", "expression", "", "group", "", "seconds", "seen")]
    for face in prediction.faces:
        first, last = face.frames[0].time_seconds, face.frames[-1].time_seconds
        rows.append(
            (
                str(face.track_id),
                face.fine.label,
                f"{face.fine.confidence:.0%}",
                face.coarse.label,
                f"{face.coarse.confidence:.0%}",
                f"{first:.1f}-{last:.1f}",
                f"{face.coverage:.0%}",
            )
        )
    head = f"{prediction.source}: {prediction.num_frames} frames in {prediction.duration_seconds:.1f} s, "
    notes = [f"  note: {_printable(warning)}" for warning in prediction.warnings]
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
            raise UsageError(
                f"Unknown system or preset {name!r}: expected one of {', '.join(presets or systems())}."
            )
        wanted += [(system, preset)] if preset else [(system, key) for key in presets if key != "tiny"]
    return wanted


def _size_cells(
    name: str, size: Size, num_frames: int, printed: PrintedSize | None = None
) -> tuple[str, ...]:
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
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def _describe(folder: Path, model: torch.nn.Module) -> str:
    """The first sentence of the model card below its title, or what the system is."""
    card = folder / "README.md"
    if not card.is_file():
        return _first_line(type(model).__doc__)
    paragraphs = ModelCard.load(card).text.split("\n\n")
    first = next((text.strip() for text in paragraphs if text.strip()[:1].isalpha()), "")
    return " ".join(first.split()).partition(". ")[0] or _first_line(type(model).__doc__)


def _first_line(docstring: str | None) -> str:
    return (docstring or "").strip().partition("\n")[0]
