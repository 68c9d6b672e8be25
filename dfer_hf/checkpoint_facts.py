"""What a report says of a checkpoint: the data it was trained on, its settings, and the versions it ran with."""

import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import __version__
from .checkpoints import CARD, find_checkpoint

if TYPE_CHECKING:
    from .predictor import VideoPredictor

TRAINING_HEADING = "## What it was trained on"
"""Stands above the section of a card that tells of the data."""


@dataclass(frozen=True)
class CheckpointFacts:
    """What is worth knowing of a checkpoint beside its answers.

    Args:
        name: What predictions call it.
        groups: Coarse group to its fine classes.
        trained_on: Paragraphs of its card on the data; none where it has no card, or the card says nothing.
        settings: How faces are found, cropped and sampled.
    """

    name: str
    groups: Mapping[str, Sequence[str]]
    trained_on: Sequence[str]
    settings: Mapping[str, Any]


def facts_of(predictor: "VideoPredictor", name_or_path: str | Path) -> CheckpointFacts:
    """Collect the facts of a loaded checkpoint.

    Args:
        predictor: With the checkpoint.
        name_or_path: What it was loaded by; the card of a Hub id is not fetched.
    """
    card = Path(find_checkpoint(name_or_path)) / CARD
    paragraphs = trained_on(card.read_text(encoding="utf-8")) if card.is_file() else []
    return CheckpointFacts(predictor.name, predictor.groups, paragraphs, predictor.settings)


def trained_on(card: str) -> list[str]:
    """What a card says the checkpoint was trained on, as paragraphs of plain text; none where it says nothing."""
    section = re.search(rf"^{re.escape(TRAINING_HEADING)}\n(.*?)(?=^## |\Z)", card, re.DOTALL | re.MULTILINE)
    if section is None:
        return []
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", section[1])
    text = re.sub(r"\*\*|`", "", text)
    paragraphs = re.split(r"\n\s*\n|\n(?=- )", text)
    return [" ".join(paragraph.split()) for paragraph in paragraphs if paragraph.strip()]


def versions() -> dict[str, str]:
    """Versions of the packages that an answer or a figure depends on."""
    # Here, so that drawing answers does not need torch.
    import numpy
    import torch
    import transformers

    return {
        "dfer_hf": __version__,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "numpy": numpy.__version__,
        "python": platform.python_version(),
    }
