"""The command `dfer`: reads the command line, and imports the package only when a command needs it.

A module of its own, because importing anything of `dfer_hf` imports torch and transformers, which takes seconds.
"""

import argparse
import gc
import os
import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

VIDEO_SUFFIXES = frozenset({
    ".3gp", ".asf", ".avi", ".flv", ".gif", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ogv",
    ".ts", ".webm", ".wmv",
})  # fmt: skip
IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})

_MODELS = "List the systems of the package and the checkpoints with weights that come with it."
_EXIT_CODES = """\
exit codes: 0 every file was answered; 1 some were not, and have an error in their place; 2 wrong use of the command.

examples:
  dfer predict clip.mp4
  dfer predict clips/ --csv answers.csv --json answers.json
  dfer predict clip.mp4 --overlay seen.webm
"""


def find_inputs(paths: Sequence[Path], *, recursive: bool = False) -> list[Path]:
    """List the files that paths stand for: files themselves, and the videos and images of folders, sorted.

    Hidden files of folders are left out, and a file that is named twice is listed once.

    Raises:
        FileNotFoundError: If there is nothing at a path, or no video and no image in a folder.
    """
    found: dict[Path, Path] = {}
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(
                f"Expected a file or a folder at {str(path)!r}, but there is nothing. Check the path."
            )
        files = _files_of_folder(path, recursive=recursive) if path.is_dir() else [path]
        for file in files:
            found.setdefault(file.resolve(), file)
    return list(found.values())


def _files_of_folder(folder: Path, *, recursive: bool) -> list[Path]:
    files = sorted(
        path
        for path in (folder.rglob("*") if recursive else folder.iterdir())
        if path.suffix.lower() in VIDEO_SUFFIXES | IMAGE_SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and path.is_file()
    )
    if not files:
        advice = "" if recursive else ", or add --recursive for those in folders below"
        raise FileNotFoundError(
            f"Expected videos or images in the folder {str(folder)!r}, but there are none. "
            f"Name another folder{advice}."
        )
    return files


def build_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        prog="dfer",
        description="Recognise facial expressions in videos, and show what the answer rests on.",
    )
    parser.add_argument("--version", action=_ShowVersion, nargs=0, help="show the version and exit")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_predict(commands)
    _add_models(commands)
    _add_export(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Args:
        arguments: What follows the command's name; that of the process when left out.

    Raises:
        SystemExit: With code 2 when the command line asks for what cannot be, and 0 after `--help` and `--version`.
    """
    parser = build_parser()
    options = parser.parse_args(arguments)
    if options.command == "predict":
        try:
            options.files = find_inputs(options.paths, recursive=options.recursive)
        except OSError as error:
            parser.error(str(error))
    gc.disable()  # importing makes no garbage to look for, and looking takes half a second
    from dfer_hf.cli import COMMANDS, UsageError

    gc.enable()
    try:
        return COMMANDS[options.command](options)
    except UsageError as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def run() -> NoReturn:
    """Run the command line as a process, and leave without taking the interpreter apart: after torch that takes a second."""
    code = main()
    with suppress(BrokenPipeError):  # whoever read our output has had enough
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def run_training() -> NoReturn:
    """Run `dfer-train`, whose code is that of the repository: an installed package comes without it."""
    try:
        from training.cli import main as main_of_training
    except ModuleNotFoundError as error:
        print(
            f"dfer-train: {error}. Training needs a clone of the repository and the extra 'train': "
            'run `pip install --editable ".[train]"` in it.',
            file=sys.stderr,
        )
        sys.exit(2)
    sys.exit(main_of_training())


def _add_predict(commands) -> None:
    parser = commands.add_parser(
        "predict",
        help="analyse videos, stills, or folders of them",
        description="Analyse videos and stills: print what each face shows, or write it frame by frame.",
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "paths", nargs="+", type=Path, metavar="PATH", help="a video, an image, or a folder of them"
    )
    parser.add_argument(
        "--model", metavar="NAME", help="shipped checkpoint, folder, or Hub id; see `dfer models`"
    )
    parser.add_argument(
        "--revision", default="main", help="of a Hub id: a commit, to always get the same weights"
    )
    parser.add_argument(
        "--json",
        type=Path,
        metavar="FILE",
        help="write an object for one file, else a list; - for the screen",
    )
    parser.add_argument(
        "--csv",
        type=Path,
        metavar="FILE",
        help="write a row per face and frame, or per error; - for the screen",
    )
    parser.add_argument(
        "--overlay",
        type=Path,
        metavar="FILE",
        help="draw answers into a .webm video; a folder for several files",
    )
    parser.add_argument(
        "--device", metavar="NAME", help="such as cpu, cuda, cuda:1, mps; a GPU where there is one"
    )
    parser.add_argument("--recursive", action="store_true", help="look into the folders of folders too")
    parser.add_argument("--quiet", action="store_true", help="print errors only")


def _add_models(commands) -> None:
    parser = commands.add_parser(
        "models", help="list the systems and the checkpoints that come with them", description=_MODELS
    )
    parser.add_argument(
        "--measure",
        nargs="*",
        metavar="SYSTEM[:PRESET]",
        help="count parameters and multiply-adds of every system and size instead, beside what was printed; with "
        "names, of those alone and of their parts",
    )


def _add_export(commands) -> None:
    parser = commands.add_parser(
        "export",
        help="write a folder to upload to the Hub",
        description="Write what a Hub repository needs: configuration, weights, processor, and the code, so that it "
        "loads where this package is not installed, with trust_remote_code=True.",
    )
    parser.add_argument(
        "source",
        metavar="MODEL",
        help="shipped checkpoint, folder, or Hub id; or SYSTEM[:PRESET], with random weights",
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="where to: a new folder")
    parser.add_argument(
        "--revision", default="main", help="of a Hub id: a commit, to always get the same weights"
    )


class _ShowVersion(argparse.Action):
    """Reads the version where it stands, for importing it would import everything."""

    def __call__(self, parser: argparse.ArgumentParser, *unused: object) -> None:
        source = (Path(__file__).resolve().parent / "dfer_hf" / "__init__.py").read_text(encoding="utf-8")
        match = re.search(r'^__version__ = "(.+)"$', source, flags=re.MULTILINE)
        print(f"dfer-hf {match[1] if match else 'of unknown version'}")
        parser.exit()
