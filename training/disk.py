"""Write files completely or not at all, hash them, and say in one sentence when the disk is full."""

import errno
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

FULL_DISK = (errno.ENOSPC, errno.EDQUOT)
# The messages of safetensors and PyTorch, neither of which passes the error number on.
_SAFETENSORS_FULL, _PYTORCH_CANNOT_WRITE = "os error 28", "inline_container"


class DiskFullError(OSError):
    """The disk has less room than what is to be written needs."""


def write_whole(path: Path, text: str) -> None:
    """Replace a text file in one step: if the process is stopped, it holds the old text or the new one."""
    part = path.with_name(f"{path.name}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def plain_hash(values: Any) -> str:
    """Return the SHA-256 of plain values, in whatever order their keys are."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


@contextmanager
def explain_full_disk(folder: Path) -> Iterator[None]:
    """Turn the errors that libraries raise on a full disk into one sentence.

    Raises:
        DiskFullError: If the disk is full.
    """
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        is_full = (
            error.errno in FULL_DISK
            if isinstance(error, OSError)
            else any(said in str(error) for said in (_SAFETENSORS_FULL, _PYTORCH_CANNOT_WRITE))
        )
        if not is_full:
            raise
        raise DiskFullError(
            f"Expected room for what is written to {folder}, but the disk is full. What was finished before is whole: "
            "free some room and start again with the same --output."
        ) from error
