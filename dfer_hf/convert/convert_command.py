"""What `dfer convert` does: write weights of a published repository as a checkpoint of this package."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from transformers.utils import logging

from ..checkpoints import CARD
from ..file_run import hash_content, outputs_are_written, sentence
from ..hub.export import export_repository
from ..output_files import UsageError
from .conversion import Converted, convert
from .convert_pickle import ConversionError, read_tensors
from .sources import Source, find_source

_CARD = """\
---
library_name: transformers
pipeline_tag: video-classification
tags:
- facial-expression-recognition
- emotion
- video
- {tag}
---

# {name}

Weights of {origin}, converted by `dfer convert {system}` from `{file}` (SHA-256 {hash}) for the classes {classes}.
{head}
**Whose they are.** This card names no licence: write that of the weights as `license:` into the metadata above, and
below where you have them from and which data they were trained on. Without a licence `dfer push` does not upload
them.

**How faces reach them.** Here a face is aligned by five points and cut out at 112×112 pixels; scaling, normalisation
and the choice of frames are those of the published code. Where that was trained on other crops, its published figures
do not hold here: measure anew.
"""
_NEW_HEAD = """
**Not ready to answer.** {parts} random weights, since the file has none that fit. Train it first.
"""


def convert_checkpoint(options: argparse.Namespace) -> int:
    """Convert a file, print what became of it, and return the exit code.

    Raises:
        UsageError: If the file cannot be converted, or the folder not be written.
    """
    logging.disable_progress_bar()
    labels = [label.strip() for label in options.labels.split(",")] if options.labels else None
    try:
        source = find_source(options.system)
        converted = convert(source, read_tensors(options.checkpoint), labels)
    except (ConversionError, OSError, ImportError) as error:
        raise UsageError(f"{str(options.checkpoint)!r} cannot be converted: {sentence(error)}") from error
    folder: Path = options.folder
    with outputs_are_written():
        card, text = folder / CARD, _card(source, converted, options)
        if card.is_file() and not _is_of(card, text):
            raise UsageError(
                f"Expected a new folder, or one of the same weights and classes, but {str(card)!r} is of others. "
                "Name another folder, or take the card away."
            )
        try:
            files = export_repository(converted.model, converted.processor, folder)
        except ValueError as error:
            raise UsageError(sentence(error)) from error
        if not card.exists():
            card.write_text(text, encoding="utf-8")
            files.append(card)
    num_tensors = len(converted.model.state_dict())
    print(f"{folder}: {num_tensors} tensors of {source.origin}, {len(files)} files")  # noqa: T201
    for note in _notes(converted):
        print(f"note: {note}")  # noqa: T201
    return 0


def _notes(converted: Converted) -> list[str]:
    notes = []
    if converted.left_out:
        parts = sorted({".".join(name.split(".")[:2]) for name in converted.left_out})
        notes.append(f"{len(converted.left_out)} tensors have no place here and were left out: {', '.join(parts[:8])}")
    if converted.drawn:
        parts = _in_words(converted.drawn)
        notes.append(f"{parts} random weights, as the file has none that fit; train it before anyone is to use it")
    notes.append(f"the licence is for you to fill in: `license:` in the metadata of {CARD}")
    return notes


def _card(source: Source, converted: Converted, options: argparse.Namespace) -> str:
    return _CARD.format(
        tag=source.system.replace("_", "-"),
        name=options.folder.resolve().name,
        origin=source.origin,
        system=options.system,
        file=options.checkpoint.name,
        hash=(hash_content(options.checkpoint) or "")[:16],
        classes=", ".join(converted.model.config.label_names),
        head=_NEW_HEAD.format(parts=_in_words(converted.drawn).capitalize()) if converted.drawn else "",
    )


def _is_of(card: Path, text: str) -> bool:
    """Whether a card, in which somebody may have written since, is of the weights and classes that `text` is of."""
    (origin,) = [line for line in text.splitlines() if "converted by `dfer convert" in line]
    return origin.encode() in card.read_bytes()


def _in_words(parts: Sequence[str]) -> str:
    return f"the {' and the '.join(parts)} {'has' if len(parts) == 1 else 'have'}"
