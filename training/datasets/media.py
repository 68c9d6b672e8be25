"""Where the frames or videos of a corpus lie: folders are listed once, clips are not asked for one by one."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from training.datasets.annotations import emotion_of_word
from training.datasets.corpus import CorpusError

VIDEO_SUFFIXES = (".mp4", ".avi", ".webm", ".mkv", ".mov")


@dataclass(frozen=True)
class Media:
    """Folders of frames and video files of a corpus.

    Args:
        folder: Where they lie, or where they are expected.
        sources: Name of a clip to its folder of frames or its video.
    """

    folder: Path
    sources: Mapping[str, Path]

    def source(self, name: str) -> Path:
        """Frames or video of a clip; where there are none, the folder where they were expected."""
        return self.sources.get(name, self.folder / name)


def same_name(name: str) -> str | None:
    """Name a clip as its folder is named."""
    return name


def five_digit_name(name: str) -> str | None:
    """Name a clip by its number with five digits; None for what is not named by a number."""
    return f"{int(name):05d}" if name.isascii() and name.isdigit() else None


def name_in_class_folder(name: str) -> str | None:
    """Name a clip `<part>/<class>/<clip>`; None for what lies that deep but in no folder named by a class."""
    return name if emotion_of_word(name.split("/")[1]) else None


def find_media(
    root: Path, candidates: Sequence[str], *, depth: int = 1, name_clip: Callable[[str], str | None] = same_name
) -> Media:
    """List the first of the candidate folders that has clips in it.

    Nothing found is no error here, as annotations can be read without a frame; the first candidate is then where
    clips are expected, and `check` reports them missing.

    Args:
        candidates: Folders relative to `root`, the best first.
        depth: How deep clips lie in them: 1 for `<clip>`, 3 for `<scene>/<class>/<clip>`.
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
    """List folders and video files `depth` levels down, in the order of their names; none if there is no folder.

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
        elif path.suffix.lower() in VIDEO_SUFFIXES:
            yield path.stem, path
