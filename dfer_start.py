"""Where the command `dfer` starts: Ctrl-C is heard before anything else is imported, `typing` included."""

import os
import signal


def run() -> None:
    """Run the command line as a process, and leave with its code."""
    # A shell has Ctrl-C ignored by what it runs in the background.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # Before an output is begun there is nothing to clean up, and some libraries swallow exceptions as they load.
        signal.signal(signal.SIGINT, _stop)
    from dfer_cli import run as run_command_line

    run_command_line()


def _stop(*unused: object) -> None:
    try:
        os.write(2, b"interrupted\n")
    finally:
        os._exit(130)
