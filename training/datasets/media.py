"""Find the files of a dataset: which are videos and pictures, and which belong to each clip.

Folders are listed once, so that the file system is not queried for every clip.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dfer_inputs import IMAGE_SUFFIXES, VIDEO_SUFFIXES
from training.datasets.corpus import CorpusError
from training.datasets.labels import emotion_of_word

POINTER_START = b"version https://git-lfs"
POINTER_MAX_BYTES = 1024

_NUMBER = re.compile(r"[0-9]+")


def is_video(path: Path) -> bool:
    """Return whether a file is named as a video; hidden files, such as macOS's `._` twins, are not."""
    return path.suffix.lower() in VIDEO_SUFFIXES and not path.name.startswith(".")


def is_picture(path: Path) -> bool:
    """Return whether a file is named as a picture; hidden files are not."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def frame_paths(folder: Path) -> list[Path]:
    """Return the frames of a folder by the numbers in their names, and by the names where these are equal.

    Raises:
        CorpusError: If there is no such folder, or no picture in it.
    """
    if not folder.is_dir():
        raise CorpusError(f"Expected a folder of frames at {folder}, found none. Unpack the frames of the release.")
    frames = [path for path in folder.iterdir() if is_picture(path)]
    if not frames:
        raise CorpusError(f"Expected pictures in {folder}, found none. Unpack the frames of the release.")
    return sorted(frames, key=_frame_order)


def _frame_order(path: Path) -> tuple[int, str]:
    numbers = _NUMBER.findall(path.stem)
    return (int(numbers[-1]) if numbers else 0, path.name)


def require_contents(paths: Iterable[Path]) -> None:
    """Refuse the pointers that git leaves in place of large files it has not fetched.

    Raises:
        CorpusError: If one of the files is such a pointer.
    """
    pointers = []
    for path in paths:
        if path.stat().st_size <= POINTER_MAX_BYTES:
            with path.open("rb") as file:
                if file.read(len(POINTER_START)) == POINTER_START:
                    pointers.append(path)
    if pointers:
        raise CorpusError(
            f"Expected videos, but {pointers[0]} and {len(pointers) - 1} more are git-lfs pointers. "
            "Run `git lfs pull` in the folder of the release."
        )


@dataclass(frozen=True)
class Media:
    """Folders of frames and video files of a corpus.

    Args:
        folder: Where they are, or where they are expected.
        sources: Name of a clip to its folder of frames or its video.
    """

    folder: Path
    sources: Mapping[str, Path]

    def source(self, name: str) -> Path:
        """Return the frames or video of a clip; where there are none, the folder where they are expected."""
        return self.sources.get(name) or self.folder / name


def same_name(name: str) -> str | None:
    """Name a clip after its folder."""
    return name


def five_digit_name(name: str) -> str | None:
    """Name a clip by its number with five digits; None for a file whose name is no number."""
    return f"{int(name):05d}" if name.isascii() and name.isdigit() else None


def name_in_class_folder(name: str) -> str | None:
    """Name a clip `<part>/<class>/<clip>`; None for files in a folder that is no class."""
    return name if emotion_of_word(name.split("/")[1]) else None


def find_media(
    root: Path, candidates: Sequence[str], *, depth: int = 1, name_clip: Callable[[str], str | None] = same_name
) -> Media:
    """List the first candidate folder that has clips in it.

    Finding none is no error, as annotations can be read without frames; clips are then expected in the first
    candidate, and `check` reports them missing.

    Args:
        candidates: Folders relative to `root`, the best first.
        depth: How deep clips are in them: 1 for `<clip>`, 3 for `<scene>/<class>/<clip>`.
        name_clip: Name of a clip from its path in the folder, without a video's suffix; None leaves it aside.

    Raises:
        CorpusError: If a clip is there twice, such as a folder of frames beside a video of the same name.
    """
    for candidate in candidates:
        folder = root / candidate
        sources: dict[str, Path] = {}
        for relative, path in list_clips(folder, depth):
            name = name_clip(relative)
            if name is None:
                continue
            if name in sources:
                raise CorpusError(
                    f"Expected one source of the clip {name}, found {sources[name]} and {path}. Move one away."
                )
            sources[name] = path
        if sources:
            return Media(folder, sources)
    return Media(root / candidates[0], {})


def list_clips(folder: Path, depth: int = 1) -> Iterator[tuple[str, Path]]:
    """List folders and videos `depth` levels down, sorted by name; none if there is no such folder.

    Yields:
        The path in `folder`, with forward slashes and without a video's suffix, and the whole path.
    """
    if not folder.is_dir():
        return
    with os.scandir(folder) as listing:
        entries = sorted((entry.name, entry.is_dir()) for entry in listing if not entry.name.startswith("."))
    for name, is_folder in entries:
        path = folder / name
        if depth > 1:
            if is_folder:
                yield from ((f"{name}/{relative}", below) for relative, below in list_clips(path, depth - 1))
        elif is_folder:
            yield name, path
        elif is_video(path):
            yield path.stem, path
