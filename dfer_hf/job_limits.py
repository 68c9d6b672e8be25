"""What one job may use, held to by the kernel."""

import ctypes
import os
import signal
from dataclasses import dataclass
from pathlib import Path

_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class JobLimits:
    """What one job may use before it is stopped.

    Attributes:
        wall_seconds: Time since it started.
        cpu_seconds: Time of all its threads together; only on Linux, like the rest.
        memory_bytes: Memory beside what all jobs share.
        file_bytes: Size of any file that it writes.
    """

    wall_seconds: float = 600.0
    cpu_seconds: float = 600.0
    memory_bytes: int = 3_000_000_000
    file_bytes: int = 2_000_000_000


def hold_to(limits: JobLimits) -> None:
    """Hold this process to what the kernel watches over."""
    import resource

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # When memory runs out, this process is the one to end.
    Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    cpu_seconds = int(limits.cpu_seconds) + 1
    # At the first of the two, the signal says what was too much; nothing outlives the second.
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 5))
    resource.setrlimit(resource.RLIMIT_FSIZE, (limits.file_bytes, limits.file_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def private_bytes(pid: int) -> int:
    """Resident memory of a process that belongs to no file."""
    resident, shared = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1:3]
    return (int(resident) - int(shared)) * os.sysconf("SC_PAGESIZE")
