"""The command `dfer-train`: everything that the modules of training do, by one name."""

import argparse
import importlib
import sys
from collections.abc import Sequence

from training.arguments import COMMANDS, finish


def main(words: Sequence[str] | None = None) -> int:
    """Read the command line, do what it says, and return the exit code."""
    parser = argparse.ArgumentParser(prog="dfer-train", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    for name, command in COMMANDS.items():
        command.declare(commands.add_parser(name, help=command.summary, description=command.description))
    arguments = parser.parse_args(words)

    def run_module(arguments: argparse.Namespace) -> int:
        # The module is imported only now, as that takes seconds.
        return importlib.import_module(COMMANDS[arguments.command].module).main(arguments)

    return finish(f"dfer-train {arguments.command}", run_module, arguments)


if __name__ == "__main__":
    sys.exit(main())
