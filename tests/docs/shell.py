"""A shell for the blocks of the manual, in which our commands need no second to start.

bash finds `dfer`, `dfer-train` and `python` in a folder of its own. Each hands its words, folder and streams to one
process that has imported everything already, and which forks a process for them.
"""

import os
import runpy
import signal
import socket
import stat
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = ("dfer", "dfer-train", "python")
CLIENT = """#!{python} -SE
import os, socket, sys
words = "\\0".join([sys.argv[0].rpartition("/")[2], os.getcwd(), *sys.argv[1:]]).encode()
with socket.socket(socket.AF_UNIX) as door:
    door.connect({door!r})
    socket.send_fds(door, [len(words).to_bytes(4, "big")], [0, 1, 2])
    door.sendall(words)
    sys.exit(door.recv(1)[0])
"""


class Shell:
    """Runs blocks of bash in a folder, while it is open."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.place = folder, tempfile.TemporaryDirectory(prefix="dfer-docs-")
        self.door = f"{self.place.name}/door"

    def __enter__(self) -> "Shell":
        for name in COMMANDS:
            path = Path(self.place.name, name)
            path.write_text(CLIENT.format(python=sys.executable, door=self.door), encoding="utf-8")
            path.chmod(path.stat().st_mode | stat.S_IXUSR)
        environment = os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
        self.server = subprocess.Popen(
            [sys.executable, __file__, self.door], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
        )
        assert self.server.stdout is not None
        assert self.server.stdout.readline() == "ready\n"
        return self

    def __exit__(self, *unused: object) -> None:
        self.server.terminate()
        self.server.wait()
        self.place.cleanup()

    def run(self, block: str) -> "subprocess.CompletedProcess[str]":
        """Run a block, up to the first command that fails."""
        path = f"{self.place.name}{os.pathsep}{os.environ['PATH']}"
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block], cwd=self.folder, env=os.environ | {"PATH": path},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
            timeout=900,
        )  # fmt: skip


def serve(door: str) -> None:
    """Import what the commands need, and fork a process for each that comes."""
    sys.path.insert(0, str(ROOT))
    import dfer_hf.cli  # noqa: F401
    import training.finetune  # noqa: F401

    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(door)
        listener.listen()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while True:
            guest, _ = listener.accept()
            size, streams, _, _ = socket.recv_fds(guest, 4, 3)
            words = guest.recv(struct.unpack(">I", size)[0], socket.MSG_WAITALL).decode().split("\0")
            child = os.fork()
            if not child:
                _become(words, streams)
            for stream in streams:
                os.close(stream)
            _, status = os.waitpid(child, 0)
            guest.sendall(bytes([os.waitstatus_to_exitcode(status) % 256]))
            guest.close()


def _become(words: list[str], streams: list[int]) -> None:
    """Do what a command would do in a process of its own, and leave."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    program, folder, *arguments = words
    os.chdir(folder)
    code = 1
    try:
        sys.argv = [program, *arguments]
        if program == "dfer":
            import dfer_cli

            code = dfer_cli.main(arguments)
        elif program == "dfer-train":
            import training.cli

            code = training.cli.main(arguments)
        elif arguments[:1] == ["-m"]:
            sys.argv = arguments[1:]
            runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
            code = 0
        else:
            sys.argv = arguments
            runpy.run_path(arguments[0], run_name="__main__")
            code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve(sys.argv[1])
