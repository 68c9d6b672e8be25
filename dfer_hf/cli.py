"""What the commands of `dfer` do; `dfer_cli` reads the command line and comes here only when a command runs."""

import argparse
import textwrap
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from huggingface_hub import ModelCard
from transformers import AutoConfig, AutoModelForVideoClassification
from transformers.utils import logging

from . import systems
from .checkpoints import CARD, CheckpointError, find_checkpoint, load_checkpoint, shipped_checkpoints
from .complexity import Size, measure_preset
from .convert.convert_command import convert_checkpoint
from .faces.video_processing_dfer import DferVideoProcessor
from .file_run import sentence
from .hub.export import export_repository
from .hub.onnx_export import export_onnx
from .hub.push import PushError, collect, prepare_repository, prepare_space, upload_repository
from .hub.space import SpaceError, write_space
from .hub.wheel import NotInstalledError
from .models.configuration_dfer import PrintedSize
from .output_files import UsageError, printable, text_columns
from .report_commands import compare, report


def list_models(options: argparse.Namespace) -> int:
    """Print the systems and the shipped checkpoints, or the sizes of the systems, and return the exit code.

    Raises:
        UsageError: If the size of an unknown system or preset is asked for, or a shipped checkpoint is broken.
    """
    if options.measure is not None:
        return _print_sizes(options.measure)
    known = {model_class.config_class.model_type: name for name, model_class in systems().items()}
    print("Systems")
    print(text_columns([(name, _first_line(model_class.__doc__)) for name, model_class in systems().items()]))
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
    print(text_columns(rows) if len(rows) > 1 else "  none")
    return 0


def export(options: argparse.Namespace) -> int:
    """Write a Hub repository's folder, print what it holds, and return the exit code.

    Raises:
        UsageError: If there is no such model, the folder cannot be written, or the options do not go together.
    """
    if options.onnx_weights != "single" and not options.onnx:
        raise UsageError(f"--onnx-weights {options.onnx_weights} is for graphs: add --onnx")
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
        if options.onnx:
            files = export_onnx(model, processor, options.folder, weights=options.onnx_weights)
        else:
            files = export_repository(model, processor, options.folder, card=card)
    except (OSError, ValueError, ImportError) as error:
        raise UsageError(f"{options.source!r} cannot be exported: {sentence(error)}") from error
    size_bytes = sum(file.stat().st_size for file in files)
    print(f"{options.folder}: {len(files)} files, {size_bytes / 1e6:.1f} MB")
    print(text_columns([(file.name,) for file in files]))
    if is_fresh:
        print("note: the weights are random; train them before anyone is to use them")
    if not options.onnx and not any(file.name == CARD for file in files):
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
                    print(text_columns([(name, f"{size:,} bytes") for name, size in files]))
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
    print(text_columns([(file.relative_to(options.folder).as_posix(),) for file in files]))
    return 0


COMMANDS = {
    "report": report,
    "compare": compare,
    "models": list_models,
    "export": export,
    "convert": convert_checkpoint,
    "push": push,
    "space": space,
}


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
    print("\n".join([text_columns(rows), "", textwrap.fill(legend, 110), *notes]))
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
