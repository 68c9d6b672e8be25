"""The command `dfer-train`: what `training/*.py` do, by one name."""

import argparse
import importlib
import sys
from collections.abc import Sequence
from types import ModuleType

COMMANDS = {
    "check": "say what is found of a corpus against what its release holds",
    "prepare": "cut the faces out of a corpus once, into a cache that trains without decoding",
    "train": "train a system by a recipe (with several processes: accelerate launch -m training.train ...)",
    "evaluate": "measure a checkpoint on a corpus",
    "crossval": "put the folds of a corpus together",
    "tables": "run the ablation tables of the papers, and print ours beside theirs",
}


def main(words: Sequence[str] | None = None) -> int:
    """Read the command line and do what it says; returns the exit code."""
    words = list(sys.argv[1:] if words is None else words)
    parser = argparse.ArgumentParser(prog="dfer-train", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    chosen = next((word for word in words if not word.startswith("-")), None)
    for name, summary in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=f"{summary.capitalize()}.")
        # The others are not imported.
        if name == chosen:
            _module_of(name).add_arguments(command)
    arguments = parser.parse_args(words)
    try:
        return _module_of(arguments.command).main(arguments)
    # What a wrong recipe, root or cache raises; `python -m training.<command>` shows where.
    except (ValueError, OSError, ArithmeticError) as error:
        sys.stderr.write(f"dfer-train {arguments.command}: {type(error).__name__}: {error}\n")
        return 1


def _module_of(command: str) -> ModuleType:
    return importlib.import_module(f"training.{'papers.' if command == 'tables' else ''}{command}")


if __name__ == "__main__":
    sys.exit(main())
