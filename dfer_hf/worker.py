"""Run jobs in processes of their own, so that whatever a file does to its decoder, only its sender notices.

On Linux one process, the nursery, loads once what all jobs share and forks a process for each job: it starts at once,
shares the memory of the models, and gives back everything when it ends. Elsewhere a spawned process does one job after
the other, and is replaced when a job has to be stopped.
"""

import contextlib
import gc
import multiprocessing
import os
import pickle
import select
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from multiprocessing import reduction
from multiprocessing.connection import Connection, wait
from typing import Any

from .job_limits import JobLimits, hold_to, private_bytes

CAN_FORK = sys.platform == "linux"

TOO_LONG = "The file took longer than one file may. Use a shorter or smaller one."
TOO_MUCH_MEMORY = "The file needed more memory than one file may. Use a shorter or smaller one."
BROKE_DOWN = "The file made its decoder or the analysis break down. Convert it to mp4 and try again."
_NAMES = {TOO_LONG: "TookTooLongError", TOO_MUCH_MEMORY: "TookTooMuchMemoryError", BROKE_DOWN: "BrokeDownError"}

_TICK_SECONDS = 0.05

Loading = tuple[Callable[..., Any], tuple[Any, ...]]
Report = Callable[[float, str], Any]
"""Takes the share of a job that is done, from 0 to 1, and what it is doing."""


def _ignore(share: float, doing: str) -> None:
    """Let a job do what it does."""


class JobRefusedError(Exception):
    """A job cannot be done; the message tells its sender why, and `name` tells a program."""

    def __init__(self, message: str, name: str | None = None) -> None:
        super().__init__(message)
        self.name = name or _NAMES.get(message, type(self).__name__)


class JobCancelledError(Exception):
    """Nobody wants the result of a job any more."""


class JobRunner:
    """Runs jobs in processes of their own, for any number of threads.

    A job is a function at the top of a module, called as `job(shared, report, *arguments)`. It may raise
    `JobRefusedError`. Whatever else ends it is refused in its name, too.

    Args:
        load: A function at the top of a module that loads what jobs share, such as models.
        arguments: What to call `load` with.
    """

    def __init__(self, load: Callable[..., Any], *arguments: Any) -> None:
        self._loading = (load, arguments)
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._nursery: _Nursery | None = None
        self._idle: list[_Spawned] = []

    def start(self) -> None:
        """Load what jobs share, and return when that is done.

        Raises:
            JobRefusedError: If `load` raised it.
            RuntimeError: If loading failed otherwise; its process has written why.
        """
        with self._process().line():
            pass

    def run(
        self,
        job: Callable[..., Any],
        *arguments: Any,
        limits: JobLimits,
        on_progress: Report = _ignore,
        cancelled: threading.Event | None = None,
    ) -> Any:
        """Do a job and return its result. An error of `on_progress` stops it.

        Raises:
            JobRefusedError: If the job cannot be done, or not within its limits.
            JobCancelledError: If `cancelled` was set, or the runner was closed.
        """
        with self._process().line() as line:
            with _broken_line_is_refused():
                line.send((limits, _do_job, (job, arguments)))
            deadline, kind, content = time.monotonic() + limits.wall_seconds, "", ()
            while kind not in ("result", "refused"):
                if self._closed.is_set() or (cancelled is not None and cancelled.is_set()):
                    raise JobCancelledError
                if time.monotonic() > deadline:
                    raise JobRefusedError(TOO_LONG)
                with _broken_line_is_refused():
                    kind, content = line.recv() if line.poll(_TICK_SECONDS) else ("", ())
                if kind == "progress":
                    on_progress(*content)
        if kind == "refused":
            raise JobRefusedError(*content)
        return content

    @contextlib.contextmanager
    def talk(
        self, prepare: Callable[..., Callable[[Any], Any]], *arguments: Any, limits: JobLimits
    ) -> Iterator[Callable[[Any], Any]]:
        """Have a process answer questions one after the other, until the block is left; gives what to ask it with.

        Asking raises the errors of `run`. A question that is refused is not the end, unless the process is gone.

        Args:
            prepare: A function at the top of a module, called as `prepare(shared, *arguments)` in the process; it
                returns what answers a question, and that may raise `JobRefusedError`.
            arguments: See there.
            limits: What all answers together may use.
        """
        with self._process().line() as line:
            with _broken_line_is_refused():
                line.send((limits, _answer_questions, (prepare, arguments)))
            deadline = time.monotonic() + limits.wall_seconds

            def ask(question: Any) -> Any:
                with _broken_line_is_refused():
                    line.send(question)
                    while not line.poll(_TICK_SECONDS):
                        if self._closed.is_set():
                            raise JobCancelledError
                        if time.monotonic() > deadline:
                            raise JobRefusedError(TOO_LONG)
                    kind, content = line.recv()
                if kind == "refused":
                    raise JobRefusedError(*content)
                return content

            yield ask
            with contextlib.suppress(OSError):
                line.send(None)

    def close(self) -> None:
        """Stop every job and every process."""
        self._closed.set()
        with self._lock:
            for process in [*filter(None, [self._nursery]), *self._idle]:
                process.kill()

    def _process(self) -> "_Nursery | _Spawned":
        """A process that has loaded what jobs share."""
        with self._lock, _broken_line_is_refused():
            if self._closed.is_set():
                raise JobCancelledError
            if not CAN_FORK:
                return self._idle.pop() if self._idle else _Spawned(self._loading, self._idle)
            if self._nursery is None or self._nursery.process.poll() is not None:
                self._nursery = _Nursery(self._loading)
            return self._nursery


@contextlib.contextmanager
def _broken_line_is_refused() -> Iterator[None]:
    """Say in plain words that the other end is gone before it answered."""
    try:
        yield
    except (EOFError, OSError, pickle.UnpicklingError) as error:
        raise JobRefusedError(BROKE_DOWN) from error


class _Nursery:
    """The server's end of the process that forks jobs, which ends when this end is closed."""

    def __init__(self, loading: Loading) -> None:
        self.control, theirs = multiprocessing.Pipe()
        # With one thread, as a fork would inherit the locks that other threads hold, but not those threads.
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        # A fork cannot use a GPU that was so much as counted before.
        environment |= {"PYTORCH_NVML_BASED_CUDA_CHECK": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        code = f"from {__name__} import tend_nursery; tend_nursery({theirs.fileno()})"
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-c", code],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env=environment,
                # Ctrl-C in a terminal is for the server alone.
                start_new_session=True,
            )
        with _ended_by_an_error(self.kill):
            _wait_for_loading(self.control, loading)

    @contextlib.contextmanager
    def line(self) -> Iterator[Connection]:
        """A line to a new process for one job; closing it kills the process."""
        line, theirs = multiprocessing.Pipe()
        with line:
            with theirs, _broken_line_is_refused():
                reduction.send_handle(self.control, theirs.fileno(), self.process.pid)
            yield line

    def kill(self) -> None:
        """Kill the process, and its jobs with it."""
        self.process.kill()
        self.process.wait()
        self.control.close()


class _Spawned:
    """The server's end of a process that does one job after the other."""

    def __init__(self, loading: Loading, idle: "list[_Spawned]") -> None:
        context = multiprocessing.get_context("spawn")
        self.idle = idle
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_do_jobs, args=(theirs,), daemon=True)
        with theirs:
            self.process.start()
        with _ended_by_an_error(self.kill):
            _wait_for_loading(self.connection, loading)

    @contextlib.contextmanager
    def line(self) -> Iterator[Connection]:
        """The line to the process for one job, after which it waits for the next; an error kills it."""
        with _ended_by_an_error(self.kill):
            yield self.connection
        self.idle.append(self)

    def kill(self) -> None:
        """Kill the process."""
        self.process.kill()
        self.process.join()
        self.connection.close()


@contextlib.contextmanager
def _ended_by_an_error(end: Callable[[], None]) -> Iterator[None]:
    with contextlib.ExitStack() as failed:
        failed.callback(end)
        yield
        failed.pop_all()


def _wait_for_loading(connection: Connection, loading: Loading) -> None:
    try:
        connection.send(loading)
        refused = connection.recv()
    except (EOFError, OSError) as error:
        raise RuntimeError(
            "Expected the process that does the jobs to start, but it ended; its error stands above."
        ) from error
    if refused is not None:
        raise JobRefusedError(*refused)


def _load(connection: Connection) -> Any:
    load, arguments = connection.recv()
    try:
        shared = load(*arguments)
    except JobRefusedError as error:
        connection.send((str(error), error.name))
        sys.exit(2)
    connection.send(None)
    return shared


def _do_job(shared: Any, connection: Connection, job: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    """Do a job, and send what came of it."""
    try:
        outcome = "result", job(shared, lambda *progress: connection.send(("progress", progress)), *arguments)
    except JobRefusedError as error:
        outcome = "refused", (str(error), error.name)
    except MemoryError:
        outcome = "refused", (TOO_MUCH_MEMORY,)
    connection.send(outcome)


def _answer_questions(
    shared: Any, connection: Connection, prepare: Callable[..., Callable[[Any], Any]], arguments: tuple[Any, ...]
) -> None:
    """Answer until the server asks for None, or hangs up."""
    answer = prepare(shared, *arguments)
    with contextlib.suppress(EOFError):
        while (question := connection.recv()) is not None:
            try:
                outcome = "result", answer(question)
            except JobRefusedError as error:
                outcome = "refused", (str(error), error.name)
            connection.send(outcome)


def _do_jobs(connection: Connection) -> None:
    """Do jobs in this process until the server hangs up, with no limit but that of the server's patience."""
    shared = _load(connection)
    with contextlib.suppress(EOFError):
        while True:
            _, serve, arguments = connection.recv()
            serve(shared, connection, *arguments)


def tend_nursery(control_handle: int) -> None:
    """Fork a process for each job until the server hangs up."""
    control = Connection(control_handle)
    shared = _load(control)
    # The collector never looks at what lies here now again, so that its pages stay shared.
    gc.collect()
    gc.freeze()
    shared_bytes = private_bytes(os.getpid())
    jobs: dict[int, tuple[Connection, JobLimits]] = {}
    while True:
        if wait([control], timeout=_TICK_SECONDS if jobs else None):
            try:
                connection = Connection(reduction.recv_handle(control))
            except EOFError:
                # Jobs die with this process.
                return
            _start_job(connection, shared, jobs)
        for pid, (connection, limits) in list(jobs.items()):
            if _is_hung_up(connection) or private_bytes(pid) > shared_bytes + limits.memory_bytes:
                os.kill(pid, signal.SIGKILL)
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                del jobs[pid]
                _say_how_it_ended(connection, os.waitstatus_to_exitcode(status))


def _start_job(connection: Connection, shared: Any, jobs: dict[int, tuple[Connection, JobLimits]]) -> None:
    try:
        limits, serve, arguments = connection.recv()
    except EOFError:
        connection.close()
        return
    pid = os.fork()
    if pid:
        jobs[pid] = connection, limits
        return
    status = 1
    try:
        hold_to(limits)
        # A sender who is gone has this process killed in a moment.
        with contextlib.suppress(BrokenPipeError):
            serve(shared, connection, *arguments)
        status = 0
    finally:
        if status:
            _print_error_without_message()
        sys.stdout.flush()
        os._exit(status)


def _print_error_without_message() -> None:
    """Print where which error came from; what it says may hold the name of somebody's file."""
    kind, _, place = sys.exc_info()
    sys.stderr.write("".join([*traceback.format_tb(place), f"{kind and kind.__name__}\n"]))
    sys.stderr.flush()


def _is_hung_up(connection: Connection) -> bool:
    """Whether the other end of a line is gone; what was sent on it before does not matter."""
    watched = select.poll()
    watched.register(connection.fileno(), 0)
    return bool(watched.poll(0))


def _say_how_it_ended(connection: Connection, exit_code: int) -> None:
    """Tell the sender of a job why there is no answer; without effect where it has one and has hung up."""
    reasons = {-signal.SIGXCPU: TOO_LONG, -signal.SIGKILL: TOO_MUCH_MEMORY}
    with connection, contextlib.suppress(OSError):
        connection.send(("refused", (reasons.get(exit_code, BROKE_DOWN),)))
