"""Which files of a release are videos, and whether they are really there."""

from pathlib import Path

from training.datasets.corpus import CorpusError

VIDEO_SUFFIXES = (
    ".3gp",
    ".avi",
    ".flv",
    ".m4v",
    ".mkv",
    ".mov",
    ".mp4",
    ".mpeg",
    ".mpg",
    ".ogv",
    ".ts",
    ".webm",
    ".wmv",
)

POINTER_START = b"version https://git-lfs"
POINTER_MAX_BYTES = 1024


def is_video(path: Path) -> bool:
    """Whether a file has the suffix of a video; hidden files, such as macOS's `._` twins, have not."""
    return path.suffix.lower() in VIDEO_SUFFIXES and not path.name.startswith(".")


def require_contents(paths: list[Path]) -> None:
    """Refuse the pointers that git leaves in the place of large files it was not asked to fetch.

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
