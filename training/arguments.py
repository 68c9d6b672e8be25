"""The commands of training and their arguments, declared apart from the code that runs them.

Nothing here imports torch or the package, so that `--help` and wrong words are answered at once.
"""

import argparse
import importlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

DEFAULT_BATCH_SIZE = 16
"""Number of clips in a batch of `evaluate`."""


@dataclass(frozen=True)
class Command:
    """A command of `dfer-train`.

    Args:
        module: Runs the command; its `main` takes the arguments and returns the exit code.
        summary: One line about the command.
        add_arguments: Declares its arguments.
    """

    module: str
    summary: str
    add_arguments: Callable[[argparse.ArgumentParser], None]

    def declare(self, parser: argparse.ArgumentParser) -> None:
        """Declare its arguments, and those of every command."""
        self.add_arguments(parser)
        parser.add_argument("--traceback", action="store_true", help="show where in the code an error was raised")

    @property
    def description(self) -> str:
        """The summary as a sentence."""
        return f"{self.summary[0].upper()}{self.summary[1:]}."


def one_or_more(word: str) -> int:
    """Read a whole number of 1 or more."""
    return _number_from(word, 1)


def none_or_more(word: str) -> int:
    """Read a whole number of 0 or more."""
    return _number_from(word, 0)


def _number_from(word: str, least: int) -> int:
    try:
        number = int(word)
    except ValueError:
        number = least - 1
    if number < least:
        raise argparse.ArgumentTypeError(f"expected a whole number of {least} or more, got {word!r}")
    return number


def read_command_line(name: str, words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the words of one command, those of the process where none are given."""
    command = COMMANDS[name]
    parser = argparse.ArgumentParser(prog=f"python -m {command.module}", description=command.description)
    command.declare(parser)
    return parser.parse_args(words)


def run_module(name: str) -> int:
    """Run a command with the words of the process, as `python -m` does; returns the exit code.

    A module calls this before its other imports, so that `--help` and wrong words are answered before torch is
    imported, which takes seconds.
    """
    return run_command(f"python -m {COMMANDS[name].module}", name, read_command_line(name))


def run_command(program: str, name: str, arguments: argparse.Namespace) -> int:
    """Run a command, and turn what a wrong recipe, folder or cache raises into one line; returns the exit code."""
    from huggingface_hub.errors import StrictDataclassError

    try:
        return importlib.import_module(COMMANDS[name].module).main(arguments)
    except KeyboardInterrupt:
        sys.stderr.write(f"{program}: interrupted\n")
        return 130
    except (ValueError, OSError, ArithmeticError, ImportError, StrictDataclassError) as error:
        if arguments.traceback:
            raise
        advice = '. Run `pip install --editable ".[train]"`.' if isinstance(error, ModuleNotFoundError) else ""
        sys.stderr.write(f"{program}: {type(error).__name__}: {error}{advice}\n")
        return 1


def add_check(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `check`."""
    parser.add_argument("corpus", help="dataset, such as dfew; a wrong name lists them all")
    parser.add_argument("root", type=Path, help="folder of the release")
    parser.add_argument("--fold", type=int, help="one of its folds, counted from 1; all where none is given")
    parser.add_argument("--deep", action="store_true", help="decode every frame; takes long")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all that was found into a file")
    parser.add_argument("--workers", type=int, default=8, help="clips looked at at a time; 8 by default")


def add_prepare(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `prepare`."""
    parser.add_argument("corpus", help="dataset, such as dfew; a wrong name lists them all")
    parser.add_argument("root", type=Path, help="folder of the release")
    parser.add_argument("--output", type=Path, required=True, help="folder of the cache; again to go on")
    parser.add_argument("--fold", type=int, help="clips of this fold only, counted from 1")
    add_cropping(parser)


def add_cropping(parser: argparse.ArgumentParser) -> None:
    """Declare the options that say how faces are cut out."""
    parser.add_argument(
        "--alignment", default="arcface_112", metavar="NAME", help="arcface_112 (default), or corpus: crops as shipped"
    )
    parser.add_argument(
        "--crop-size",
        type=int,
        default=112,
        metavar="PIXELS",
        help="side of the crops (default: 112), with corpus any",
    )
    parser.add_argument("--low-light", action="store_true", help="brighten dark faces, for AFEW")
    parser.add_argument("--processes", type=one_or_more, default=1, help="clips prepared at once")
    parser.add_argument("--device", default="cpu", help="where faces are detected, as torch names it")
    parser.add_argument("--retry", action="store_true", help="try clips again that failed before")


def add_train(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `train`."""
    parser.add_argument("recipe", type=Path, help="TOML recipe, such as training/recipes/aen_dfew.toml")
    parser.add_argument("--data-root", type=Path, required=True, help="folder of the dataset")
    parser.add_argument("--prepared", type=Path, help="cache of its face crops that `prepare` wrote")
    parser.add_argument("--fold", type=int, help="fold to leave out, counted from 1")
    parser.add_argument("--output", type=Path, required=True, help="run folder; give it again to resume")
    add_workers(parser)
    add_settings(parser)
    parser.add_argument("--seed", type=none_or_more, help="another seed than the recipe's")
    parser.add_argument("--compile", action="store_true", help="compile the model")
    parser.add_argument(
        "--trackers",
        nargs="*",
        metavar="NAME",
        help="tensorboard (default), wandb, trackio, mlflow; none without a name",
    )
    parser.add_argument(
        "--select-on-test",
        action="store_true",
        help="keep the epoch that is best on the test part, as the literature does; written into the results",
    )


def add_workers(parser: argparse.ArgumentParser) -> None:
    """Declare the number of processes that read clips, which changes no result."""
    parser.add_argument("--workers", type=none_or_more, default=0, help="processes that read clips (default: none)")


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Declare the option that changes a recipe."""
    parser.add_argument(
        "--set",
        dest="settings",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change the recipe, as in --set learning_rate=1e-4 --set model.depths=[1,1,1]; may be given again",
    )


def add_finetune(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `finetune`."""
    parser.add_argument("clips", type=Path, help="a folder of clips for each class, or with a metadata.csv")
    parser.add_argument(
        "--from", dest="source", required=True, metavar="MODEL", help="shipped name, run folder, folder or Hub id"
    )
    parser.add_argument("--output", type=Path, required=True, help="run folder; give it again to resume")
    parser.add_argument(
        "--groups", nargs="+", metavar="GROUP=CLASS,…", help="coarse classes, such as good=smile,laugh bad=frown"
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--head-only", dest="trainable", action="store_const", const="head", help="train the head alone")
    what.add_argument(
        "--lora", dest="trainable", action="store_const", const="lora", help="train the head and adapters, with peft"
    )
    parser.set_defaults(trainable="all")
    parser.add_argument(
        "--epochs", type=one_or_more, default=10, help="how often the clips are gone through (default: 10)"
    )
    parser.add_argument("--seed", type=none_or_more, default=0, help="of everything random (default: 0)")
    add_settings(parser)
    add_workers(parser)
    parser.add_argument("--processes", type=one_or_more, default=1, help="clips whose faces are cut out at once")
    parser.add_argument("--device", default="cpu", help="where faces are detected, as torch names it")


def add_evaluate(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `evaluate`."""
    parser.add_argument("checkpoint", help="run folder of training, shipped name, folder or Hub id")
    parser.add_argument("corpus", help="dataset, such as dfew; see `check`")
    parser.add_argument("--data-root", type=Path, required=True, help="folder of the dataset's release")
    parser.add_argument("--prepared", type=Path, required=True, help="cache that `prepare` wrote")
    parser.add_argument("--fold", type=int, help="which fold, counted from 1, where the dataset has several")
    parser.add_argument("--split", choices=("test", "train"), default="test")
    parser.add_argument("--output", type=Path, help="folder to write; `evaluation` in a run folder by default")
    parser.add_argument("--figures", action="store_true", help="draw PNG files as well")
    parser.add_argument(
        "--allow-seen", action="store_true", help="measure clips that the run has learnt from too; results say so"
    )
    parser.add_argument("--parquet", action="store_true", help="write predictions.parquet instead of .csv")
    parser.add_argument("--batch-size", type=one_or_more, default=DEFAULT_BATCH_SIZE, help="clips of a batch")
    add_workers(parser)


def add_crossval(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `crossval`."""
    parser.add_argument(
        "folds", type=Path, nargs="+", help="run folder, evaluation folder or predictions of each fold"
    )
    parser.add_argument("--output", type=Path, help="folder for results.json, table.md and figures")
    parser.add_argument("--figures", action="store_true", help="draw PNG files of the pooled clips")


def add_tables(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `tables`."""
    commands = parser.add_subparsers(dest="action", required=True)
    run = commands.add_parser("run", help="train and measure rows, then print the table")
    run.add_argument("table", help="such as aen_table1; `show` names them all")
    where = "; for several datasets as <dataset>=<folder> each"
    run.add_argument("--data-root", nargs="+", required=True, help=f"folder of the dataset{where}")
    run.add_argument("--prepared", nargs="+", required=True, help=f"cache of its face crops{where}")
    run.add_argument("--rows", type=int, nargs="+", default=(), help="some rows, counted from 1 (default: all)")
    run.add_argument("--fold", type=int, help="one fold (default: all that the paper has)")
    add_workers(run)
    show = commands.add_parser("show", help="print tables with what there is")
    show.add_argument("table", nargs="?", help="one table (default: all)")
    for command in (run, show):
        add_settings(command)
        command.add_argument("--output", type=Path, default=Path("runs/tables"), help="folder of the runs")
        command.add_argument(
            "--select-on-test", action="store_true", help="runs that keep the epoch that is best on the test part"
        )


COMMANDS = {
    "check": Command("training.check", "compare a dataset on disk with its release", add_check),
    "prepare": Command(
        "training.prepare",
        "cut the faces out of a dataset once, into a cache that trains without decoding",
        add_prepare,
    ),
    "train": Command(
        "training.train",
        "train a system by a recipe (with several processes: accelerate launch -m training.train ...)",
        add_train,
    ),
    "finetune": Command(
        "training.finetune", "train a checkpoint further on a folder of clips with classes of one's own", add_finetune
    ),
    "evaluate": Command("training.evaluate", "measure a checkpoint on a dataset", add_evaluate),
    "crossval": Command("training.crossval", "put the folds of a dataset together", add_crossval),
    "tables": Command(
        "training.papers.tables", "run the ablation tables of the papers, and print ours beside theirs", add_tables
    ),
}
