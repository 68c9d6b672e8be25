"""The command `dfer-train`: everything that the modules of training do, by one name."""

import argparse
import sys
from collections.abc import Sequence

from training.arguments import COMMANDS, run_command


def main(words: Sequence[str] | None = None) -> int:
    """Read the command line, do what it says, and return the exit code."""
    parser = argparse.ArgumentParser(prog="dfer-train", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    for name, command in COMMANDS.items():
        command.declare(commands.add_parser(name, help=command.summary, description=command.description))
    arguments = parser.parse_args(words)
    return run_command(f"dfer-train {arguments.command}", arguments.command, arguments)


if __name__ == "__main__":
    sys.exit(main())
