"""The command `dfer`: reads the command line, and imports the package only when a command needs it.

A module of its own, because importing anything of `dfer_hf` imports torch and transformers, which takes seconds.
"""

import argparse
import gc
import math
import os
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from dfer_inputs import find_inputs

_MODEL = "shipped checkpoint, folder, or Hub id"
# As `dfer_hf.language` has them.
_LANGUAGES = ("en", "de")
_MODELS = "List the systems of the package and the checkpoints with weights that come with it."
_EXIT_CODES = """\
exit codes: 0 every file was answered; 1 some were not, and have an error in their place; 2 wrong use of the command;
130 it was interrupted.

examples:
  dfer predict clip.mp4
  dfer predict clips/ --csv answers.csv --json answers.json
  dfer predict clip.mp4 --overlay seen.webm
  dfer predict clip.mp4 --target fear --instead-of surprise --maps maps.npz
"""


def build_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        prog="dfer", description="Recognise facial expressions in videos, and show what the answer rests on."
    )
    parser.add_argument("--version", action=_ShowVersion, nargs=0, help="show the version and exit")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_predict(commands)
    _add_report(commands)
    _add_compare(commands)
    _add_batch(commands)
    _add_models(commands)
    _add_export(commands)
    _add_convert(commands)
    _add_push(commands)
    _add_space(commands)
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
    if "paths" in options:
        try:
            options.files = find_inputs(options.paths, recursive=options.recursive)
        except OSError as error:
            parser.error(str(error))
    # Importing makes no garbage to look for, and looking takes half a second, then and whenever it is done again.
    gc.disable()
    from dfer_hf.output_files import UsageError

    command = _import_command(options.command)
    gc.freeze()
    gc.enable()
    code = 0
    try:
        code = command(options)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read our output has had enough
        pass
    except OSError as error:
        parser.error(f"Expected to print the answer, but it cannot be written: {error}.")
    except UsageError as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        code = 130
        with suppress(OSError):
            os.write(2, b"interrupted\n")
    return code


def _import_command(name: str) -> Callable[[argparse.Namespace], int]:
    # By themselves: they need no torch where another engine answers.
    if name == "predict":
        from dfer_hf.predict_command import predict

        return predict
    if name == "batch":
        from dfer_hf.batch.batch_command import batch

        return batch
    from dfer_hf.cli import COMMANDS

    return COMMANDS[name]


def run() -> NoReturn:
    """Run the command line as a process, and leave without taking the interpreter apart.

    After torch that takes a second.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        # The next file that is opened takes the number of a closed stream, and what libraries print would go into it.
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115
    sys.stdout.reconfigure(errors="backslashreplace")  # pyright: ignore[reportAttributeAccessIssue]
    try:
        code = main()
    except SystemExit as stop:
        code = stop.code
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()
    os._exit(code if isinstance(code, int) else 0)


def run_training() -> NoReturn:
    """Run `dfer-train`, whose code is that of the repository: an installed package comes without it."""
    try:
        from training.cli import main as main_of_training
    except ModuleNotFoundError:
        print(
            "dfer-train: training is not part of the installed package. Clone the repository, and run "
            '`pip install --editable ".[train]"` in it.',
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
    add = parser.add_argument
    _add_inputs(parser)
    add("--json", type=Path, metavar="FILE", help="an object for one file, else a list; - for the screen")
    add("--csv", type=Path, metavar="FILE", help="a row per face and frame, or per error; - for the screen")
    add("--overlay", type=Path, metavar="FILE", help="draw answers into a .webm or .mp4; a folder for several")
    add(
        "--explain",
        metavar="METHOD",
        help="say what answers rest on: layercam, gradcam, attention, keypoints or masks; the last takes minutes",
    )
    add("--target", metavar="CLASS", help="explain this class or group (default: the answer)")
    add("--instead-of", metavar="CLASS", help="explain the target and not this one")
    add("--maps", type=Path, metavar="FILE", help="write heat maps into an .npz; a folder for several")
    _add_engine(parser, "starts sooner, runs on the CPU and explains by masks alone")
    _add_run_options(parser)


def _add_report(commands) -> None:
    parser = commands.add_parser(
        "report",
        help="write a page that stands alone on videos and stills",
        description="Analyse videos and stills, and write one HTML page on all of them: answers, the frames that "
        "counted most, timelines, scores, and what the model is. It needs no network and no script.",
        epilog=_EXIT_CODES.partition("\n\n")[0],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_inputs(parser)
    parser.add_argument(
        "--output", type=Path, default=Path("report.html"), metavar="FILE", help="where to (default: report.html)"
    )
    parser.add_argument("--language", choices=_LANGUAGES, default="en", help="of the page (default: en)")
    _add_run_options(parser)


def _add_compare(commands) -> None:
    parser = commands.add_parser(
        "compare",
        help="let several models answer one video or still",
        description="Let several models answer one video or still, which is read once: print their answers side by "
        "side and when they agree, or write them.",
        epilog=_EXIT_CODES.partition("\n\n")[0],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("paths", nargs=1, type=Path, metavar="PATH", help="a video or an image")
    add("--models", nargs="+", metavar="NAME", help=f"each a {_MODEL} (default: all shipped checkpoints)")
    _add_hub_options(parser)
    add("--json", type=Path, metavar="FILE", help="answers, agreement and every frame; - for the screen")
    add("--html", type=Path, metavar="FILE", help="a page that stands alone, with timelines on one axis")
    parser.set_defaults(recursive=False)
    _add_run_options(parser)


def _add_batch(commands) -> None:
    parser = commands.add_parser(
        "batch",
        help="answer very many files by several processes or machines, into parquet",
        description="Answer videos and stills by several workers, and write a row for each face, or one for a file's "
        "error, into a folder of parquet files. What is there already is not done again: run the same command after "
        "an interruption, or with more files. A file whose worker dies is done again.",
        epilog=_EXIT_CODES.partition("\n\n")[0],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_inputs(parser)
    add = parser.add_argument
    add(
        "--output",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="where to: a new folder, or that of an earlier run",
    )
    add("--on", choices=("local", "ray"), default="local", help="processes of this machine, or a Ray cluster")
    add("--workers", type=_count, metavar="N", help="how many (default: one for each core, or for each GPU)")
    _add_engine(parser, "starts sooner, needs less memory and runs on the CPU")
    _add_run_options(parser)


def _add_engine(parser: argparse.ArgumentParser, merits: str) -> None:
    parser.add_argument(
        "--engine",
        choices=["torch", "onnx"],
        help=f"what answers (default: torch); onnx takes a folder of `dfer export --onnx`, {merits}",
    )


def _add_inputs(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("paths", nargs="+", type=Path, metavar="PATH", help="a video, an image, a folder of them, or a .txt list")
    add("--recursive", action="store_true", help="look into the folders of folders too, linked ones included")
    add("--model", metavar="NAME", help=f"{_MODEL}; see `dfer models`")
    _add_hub_options(parser)


def _add_run_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--device", metavar="NAME", help="such as cpu, cuda, cuda:1, mps; a GPU where there is one")
    add("--quiet", action="store_true", help="print errors only")
    parser.set_defaults(engine="torch")
    limits = parser.add_argument_group("limits", "Larger files are refused before they are decoded.")
    for option, default, unit in (
        ("--max-seconds", 600, "seconds of playing time"),
        ("--max-megabytes", 500, "megabytes of a file"),
        ("--max-side", 4096, "pixels of width and of height"),
        ("--max-rate", 120, "frames a second"),
    ):
        text = f"at most N {unit}, or none (default: {default})"
        limits.add_argument(option, default=default, type=_limit, metavar="N", help=text)


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
    parser.add_argument("source", metavar="MODEL", help=f"{_MODEL}; or SYSTEM[:PRESET], with random weights")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="where to: a new folder")
    parser.add_argument(
        "--onnx",
        action="store_true",
        help="write ONNX graphs instead, for `dfer predict --engine onnx --model FOLDER`; each is compared with torch",
    )
    parser.add_argument(
        "--onnx-weights",
        choices=["single", "half", "int8"],
        default="single",
        help="how weights are stored with --onnx: half takes half of the bytes and int8 a quarter, at the same speed "
        "(default: single)",
    )
    _add_hub_options(parser)


def _add_convert(commands) -> None:
    parser = commands.add_parser(
        "convert",
        help="make a checkpoint of the weights of a published repository",
        description="Write weights that a published repository saved as a checkpoint of this package, with its card. "
        "Nothing in the file is run, and tensors that are missing or unexpected are refused by name. Systems are "
        "former_dfer, m3dfel, frame_resnet (torchvision's ResNet-18), r3d (torchvision's R3D-18), and the nets "
        "of FaceX-Zoo: cfc_sp:iresnet, cfc_sp:repvgg, cfc_sp:hrnet and cfc_sp:swin.",
    )
    add = parser.add_argument
    add("system", metavar="SYSTEM", help="whose weights they are, such as former_dfer")
    add("checkpoint", type=Path, metavar="FILE", help="a .pth, .pt, .bin or .safetensors")
    add("folder", type=Path, metavar="FOLDER", help="where to: a new folder")
    add("--labels", metavar="A,B,…", help="names of the classes in their order in the file (default: the system's)")


def _add_push(commands) -> None:
    parser = commands.add_parser(
        "push",
        usage="dfer push [--private] [--dry-run] CHECKPOINT NAMESPACE[/NAME]\n"
        "       dfer push [--private] [--dry-run] --all NAMESPACE\n"
        "       dfer push [--private] [--dry-run] --space FOLDER NAMESPACE/NAME",
        help="upload checkpoints, or a Space, to the Hub",
        description="Upload what `dfer export` writes, with card and results, to a repository of the Hub, which is "
        "made if missing. What is there already is not sent again, so a push that was interrupted goes on. It takes "
        "the token of `hf auth login`, or HF_TOKEN in the environment.",
    )
    add = parser.add_argument
    add("names", nargs="+", metavar="NAME", help="a shipped checkpoint or a folder, and the namespace to push it to")
    add("--all", action="store_true", help="every checkpoint that comes with the package, and a collection of them")
    add("--space", action="store_true", help="a Space that `dfer space` wrote")
    add("--private", action="store_true", help="only you may see it")
    add("--dry-run", action="store_true", help="list files and sizes, and do not touch the network")


def _add_space(commands) -> None:
    parser = commands.add_parser(
        "space",
        help="write a Space of the Hub that shows the page",
        description="Write the folder of a Space: the page, this package as a wheel, requirements, examples and a "
        "card. `dfer push --space` uploads it. A folder that this wrote is written anew, others are not touched.",
    )
    add = parser.add_argument
    add("folder", type=Path, metavar="FOLDER", help="where to: a new folder")
    add("--hardware", choices=["zero", "cpu"], default="zero", help="what it runs on (default: zero, for ZeroGPU)")
    add(
        "--models",
        metavar="NAMESPACE",
        help="load checkpoints from where `dfer push --all NAMESPACE` put them (default: they go along)",
    )


def _add_hub_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--revision", default="main", help="of a Hub id: a commit, to always get the same weights")
    parser.add_argument("--token", help="for a private Hub id; HF_TOKEN in the environment is seen by fewer people")


def _limit(text: str) -> float | None:
    """Read a limit: a number above 0, or `none`."""
    if text == "none":
        return None
    with suppress(ValueError):
        if 0 < float(text) < math.inf:
            return float(text)
    raise argparse.ArgumentTypeError(f"expected a number above 0, or none, got {text!r}")


def _count(text: str) -> int:
    """Read a number of things: 1 or more."""
    with suppress(ValueError):
        if int(text) >= 1:
            return int(text)
    raise argparse.ArgumentTypeError(f"expected a number from 1 on, got {text!r}")


class _ShowVersion(argparse.Action):
    """Reads the version where it stands, for importing it would import everything."""

    def __call__(self, parser: argparse.ArgumentParser, *unused: object) -> None:
        source = (Path(__file__).resolve().parent / "dfer_hf" / "__init__.py").read_text(encoding="utf-8")
        match = re.search(r'^__version__ = "(.+)"$', source, flags=re.MULTILINE)
        print(f"dfer-hf {match[1] if match else 'of unknown version'}")
        parser.exit()
