"""Crop clips in several processes at once and hand the results over in the order of the clips."""

import itertools
import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.context import BaseContext
from pathlib import Path

import torch

from training.cache.face_clips import FaceCropper
from training.cache.shards import ClipDetails
from training.datasets.corpus import Clip
from training.disk import FULL_DISK

# How many clips are under way for each process: one slow clip must not keep the others waiting.
_CLIPS_AHEAD = 4


class WorkerDiedError(OSError):
    """A process that crops clips was killed, or crashed in a library."""


@dataclass(frozen=True)
class CroppedClip:
    """The outcome for one clip.

    Args:
        name: Of the clip.
        path: The `.npy` file of its crops, which belongs to the caller.
        details: Of its frames; None where it failed.
        error: Why it failed.
    """

    name: str
    path: Path
    details: ClipDetails | None
    error: str = ""


def crop_in_order(
    clips: Iterable[Clip], cropper: FaceCropper, folder: Path, *, num_processes: int
) -> Generator[CroppedClip, None, None]:
    """Crop clips, a few ahead of the one that the caller is at.

    Args:
        clips: The clips.
        cropper: Cuts the faces out.
        folder: Where the files are written.
        num_processes: 1 crops in this process.

    Raises:
        WorkerDiedError: If a process dies.
        OSError: If the disk is full.
    """
    numbered = ((clip, folder / f"{number}.npy") for number, clip in enumerate(clips))
    if num_processes == 1:
        for clip, path in numbered:
            yield _crop(cropper, clip, path)
        return
    pool = ProcessPoolExecutor(num_processes, mp_context=_context(), initializer=_start_worker, initargs=(cropper,))
    waiting: deque[tuple[Clip, Future[CroppedClip]]] = deque()
    try:
        for clip, path in itertools.islice(numbered, _CLIPS_AHEAD * num_processes):
            waiting.append((clip, pool.submit(_work, clip, path)))
        while waiting:
            yield waiting[0][1].result()
            waiting.popleft()
            for clip, path in itertools.islice(numbered, 1):
                waiting.append((clip, pool.submit(_work, clip, path)))
    except BrokenProcessPool as error:
        unfinished = [clip.name for clip, future in waiting if not future.done() or future.exception()]
        # Results are handed over in this order.
        suspects = ", ".join(unfinished[:num_processes])
        raise WorkerDiedError(
            f"Expected every process to finish, but one died, perhaps for want of memory, on one of: {suspects}. "
            "Run again to go on from there, with --processes 1 to see on which."
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _crop(cropper: FaceCropper, clip: Clip, path: Path) -> CroppedClip:
    try:
        return CroppedClip(clip.name, path, cropper(clip, path))
    except (ValueError, OSError) as error:  # all that says what is wrong with a clip is a ValueError
        if isinstance(error, OSError) and error.errno in FULL_DISK:
            raise
        return CroppedClip(clip.name, path, None, f"{type(error).__name__}: {error}")


def _context() -> BaseContext:
    """Start processes without this one's threads, from a server that has done the slow imports already."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["dfer_hf.engines.torch_engine", "training.cache.face_clips"])
    return context


_cropper: FaceCropper | None = None


def _start_worker(cropper: FaceCropper) -> None:
    # One for the life of the process: its networks are built once.
    global _cropper
    _cropper = cropper
    torch.set_num_threads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End when the process that asked for the crops ends: if it is killed, it cannot tell its workers."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(clip: Clip, path: Path) -> CroppedClip:
    if _cropper is None:
        raise RuntimeError("Expected a worker started by `crop_in_order`, got a bare process.")
    return _crop(_cropper, clip, path)
