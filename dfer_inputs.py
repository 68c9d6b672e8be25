"""Which files the command line names: files, folders, and lists of files.

A module of its own beside `dfer_cli`, which reads the command line without importing the package.
"""

import os
from collections.abc import Sequence
from pathlib import Path

VIDEO_SUFFIXES = frozenset({
    ".264", ".265", ".3g2", ".3gp", ".asf", ".avi", ".divx", ".dv", ".f4v", ".flv", ".gif", ".h264", ".hevc", ".ivf",
    ".m1v", ".m2ts", ".m2v", ".m4v", ".mj2", ".mjpeg", ".mjpg", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts",
    ".mxf", ".ogv", ".qt", ".rm", ".rmvb", ".ts", ".vob", ".webm", ".wmv", ".wtv", ".y4m",
})  # fmt: skip
IMAGE_SUFFIXES = frozenset({
    ".apng", ".avif", ".bmp", ".jfif", ".jp2", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp",
})  # fmt: skip
SUFFIXES = VIDEO_SUFFIXES | IMAGE_SUFFIXES
"""Names of videos and of images; a folder may hold other files too."""
LIST_SUFFIX = ".txt"
"""Name of a list of files, one a line."""


def find_inputs(paths: Sequence[Path], *, recursive: bool = False) -> list[Path]:
    """List the files that paths stand for: files themselves, and the videos and images of folders, sorted.

    Hidden files of folders are left out, and a file that is named twice is listed once. Whatever else has the name of
    a video or an image is listed, be it unreadable or a broken link, so that it is answered with an error. So is
    every line of a list, whether there is such a file or not.

    Raises:
        FileNotFoundError: If there is nothing at a path, or no video and no image in a folder.
        OSError: If a list cannot be read.
    """
    found: dict[Path, Path] = {}
    for path in paths:
        if path.suffix.lower() == LIST_SUFFIX and path.is_file():
            for file in _files_of_list(path):
                found.setdefault(Path(os.path.realpath(file)), file)
            continue
        if not path.exists():
            raise FileNotFoundError(
                f"Expected a file or a folder at {str(path)!r}, but there is nothing. Check the path."
            )
        files = _files_of_folder(path, recursive=recursive) if path.is_dir() else [path]
        for file in files:
            found.setdefault(Path(os.path.realpath(file)), file)
    return list(found.values())


def _files_of_list(path: Path) -> list[Path]:
    # Names of files need not be text, and some have line breaks of other scripts in them.
    lines = path.read_text(encoding="utf-8-sig", errors="surrogateescape").split("\n")
    if not any(line.strip() for line in lines):
        raise FileNotFoundError(f"Expected a file on each line of {str(path)!r}, but there is none. Check the list.")
    return [Path(line) for line in lines if line.strip()]


def _files_of_folder(folder: Path, *, recursive: bool) -> list[Path]:
    files: list[Path] = []
    # A link last, so that what also has a path of its own is called by that; and it may lead back to where it is.
    starts, visited = [folder], set()
    for start in starts:
        # A folder that cannot be listed stands in the list itself, and is answered with an error.
        for place, folders, names in os.walk(start, onerror=lambda error: files.append(Path(error.filename))):
            real = os.path.realpath(place)
            folders[:] = [name for name in folders if recursive and real not in visited and not name.startswith(".")]
            starts += [path for name in sorted(folders) if (path := Path(place, name)).is_symlink()]
            if real not in visited:
                paths = (Path(place, name) for name in names if not name.startswith("."))
                files.extend(path for path in paths if path.suffix.lower() in SUFFIXES)
            visited.add(real)
    if not files:
        advice = "" if recursive else ", or add --recursive for those in folders below"
        raise FileNotFoundError(
            f"Expected videos or images in the folder {str(folder)!r}, but there are none. "
            f"Name another folder{advice}."
        )
    return sorted(files)
