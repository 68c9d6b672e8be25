"""Put a file that is whole where it belongs, in one step: whoever looks sees the old one or the new one."""

import os
import shutil
from contextlib import suppress
from pathlib import Path


def place_behind(path: Path) -> Path:
    """Where a file is that is written to a path: what a link stands for, and not the link."""
    return Path(os.path.realpath(path))


def take_place(written: Path, target: Path) -> None:
    """Put a file where another may be, with the permissions of that one."""
    with suppress(OSError):
        shutil.copymode(target, written)
    written.replace(target)
