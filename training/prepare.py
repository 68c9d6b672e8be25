"""Turn a dataset into a cache of face crops: `python -m training.prepare <dataset> <root> --output <cache>`.

A run that was stopped resumes when it is started again with the same output. The cache's index.csv names the clips
that cannot be prepared, with the reason; `--retry` tries them again.
"""

from training.arguments import run_module

if __name__ == "__main__":
    # Before the imports that take seconds.
    raise SystemExit(run_module("prepare"))

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from dfer_hf.faces import MtcnnFaceDetector
from dfer_hf.file_run import available_device
from dfer_hf.video import VideoError, probe
from training.cache.crop_workers import crop_in_order
from training.cache.face_clips import FOLDER_FRAMES_PER_SECOND, LIMITS, FaceCropper
from training.cache.prepared import Preparation
from training.cache.shards import INDEX_NAME, SHARD_BYTES, CacheError, CacheWriter, frame_bytes
from training.datasets.corpus import Clip, Corpus, CorpusError
from training.datasets.media import is_picture
from training.disk import DiskFullError

_CLIPS_LOOKED_AT = 300
_WORKSPACE = "unfinished-"


@dataclass(frozen=True)
class PreparationReport:
    """How many of the requested clips a cache holds.

    Args:
        num_prepared: Clips that are in the cache.
        num_new: How many of them this run added.
        failures: Why the others are missing, by name.
        warnings: What was odd about clips that this run added, by name.
    """

    num_prepared: int
    num_new: int
    failures: dict[str, str]
    warnings: dict[str, tuple[str, ...]]


def prepare(
    clips: Sequence[Clip],
    output: Path,
    *,
    corpus: str,
    cropper: FaceCropper,
    num_processes: int = 1,
    retry: bool = False,
    shard_bytes: int = SHARD_BYTES,
) -> PreparationReport:
    """Add clips to a cache in their order, except those that it holds already.

    Shards and index are the same to the byte whatever the number of processes, and whether or not the run was stopped
    and started again.

    Args:
        clips: The clips, with names of their own.
        output: Folder of the cache; it is created where there is none.
        corpus: Name of the corpus.
        cropper: How the faces are cut out.
        num_processes: How many clips are cropped at once.
        retry: Whether to try clips again that failed before.
        shard_bytes: Size above which no clip is added to a shard that has one.

    Raises:
        CacheError: If the output is no cache, or one prepared otherwise, or two clips have one name.
        DiskFullError: If the disk has too little room.
        WorkerDiedError: If a process is killed.
        ImportError: If the detector's library is not installed.
    """
    _refuse_equal_names(clips)
    record = Preparation(
        corpus, cropper.detector_name, cropper.alignment, cropper.low_light, cropper.settings, cropper.crop_size
    )
    record.settle(output)
    odd: dict[str, tuple[str, ...]] = {}
    # Contexts are closed last to first: processes end before their folder is removed.
    with ExitStack() as stack:
        writer = stack.enter_context(
            CacheWriter(output, shard_bytes=shard_bytes, retry=retry, crop_size=cropper.crop_size)
        )
        for leftover in output.glob(f"{_WORKSPACE}*"):
            shutil.rmtree(leftover)
        workspace = stack.enter_context(tempfile.TemporaryDirectory(prefix=_WORKSPACE, dir=output))
        wanted = [clip for clip in clips if clip.name not in writer.rows]
        num_new = 0
        _check_disk(wanted, output, cropper.crop_size)
        cropped = stack.enter_context(
            closing(crop_in_order(wanted, cropper, Path(workspace), num_processes=num_processes))
        )
        num_done = len(clips) - len(wanted)
        for result in tqdm(cropped, "prepare", len(clips), initial=num_done, unit="clip"):
            if result.details is None:
                writer.add_failure(result.name, result.error)
                result.path.unlink(missing_ok=True)
                continue
            with result.path.open("rb") as crops:
                writer.add(crops, result.details)
            result.path.unlink()
            num_new += 1
            if result.details.warnings:
                odd[result.name] = result.details.warnings
        rows = [writer.rows[clip.name] for clip in clips]
    failures = {row.name: row.error for row in rows if row.error}
    return PreparationReport(len(clips) - len(failures), num_new, failures, odd)


def corpus_clips(corpus: Corpus, root: Path, fold: int | None = None) -> list[Clip]:
    """List the clips of one fold of a corpus, or of all of them, each once.

    Raises:
        CorpusError: If there is no such fold or no clip, the corpus is not laid out as its release, or folds do not
            agree on a clip.
    """
    folds: list[int | None] = [fold]
    if fold is None and corpus.num_folds > 1:
        folds = list(range(1, corpus.num_folds + 1))
    clips: dict[str, Clip] = {}
    for number in folds:
        split = corpus.load(root, number)
        for clip in (*split.train, *split.test):
            known = clips.setdefault(clip.name, clip)
            if known.source != clip.source:
                raise CorpusError(
                    f"Expected one source of {clip.name!r}, got {known.source} and {clip.source}. "
                    "Check the annotation files of the folds."
                )
    if not clips:
        raise CorpusError(f"Expected clips of {corpus.title} at {root}, found none. Pass the release's folder.")
    return list(clips.values())


def estimate_frames(clips: Sequence[Clip]) -> int:
    """Estimate how many frames clips have, from the headers and folders of a few hundred of them."""
    looked_at = clips[:: max(1, len(clips) // _CLIPS_LOOKED_AT)]
    counted = sum(_count_frames(clip.source) for clip in looked_at)
    return round(counted * len(clips) / max(1, len(looked_at)))


def _count_frames(source: Path) -> int:
    try:
        if source.is_dir():
            return sum(map(is_picture, source.iterdir()))
        info = probe(source, limits=LIMITS)
    except (VideoError, OSError):
        # It takes no room; the reason is recorded when its turn comes.
        return 0
    return info.num_frames or round((info.duration_seconds or 0) * FOLDER_FRAMES_PER_SECOND)


def _check_disk(clips: Sequence[Clip], output: Path, crop_size: int) -> None:
    """Say how much the cache will grow, and refuse where there is less room."""
    num_frames = estimate_frames(clips)
    needed, free = num_frames * frame_bytes(crop_size), shutil.disk_usage(output).free
    tqdm.write(
        f"{len(clips)} clips to prepare, about {num_frames} frames: {needed / 1e9:.2f} GB, and a little for "
        f"the clips in work; {free / 1e9:.2f} GB are free at {output}",
        file=sys.stderr,
    )
    if needed > free:
        raise DiskFullError(
            f"Expected about {needed / 1e9:.2f} GB free at {output}, got {free / 1e9:.2f}. Free some, or give "
            "an --output on another disk."
        )


def _refuse_equal_names(clips: Sequence[Clip]) -> None:
    names = {clip.name for clip in clips}
    if len(names) != len(clips):
        seen: set[str] = set()
        twice = next(clip.name for clip in clips if clip.name in seen or seen.add(clip.name))
        raise CacheError(f"Expected each clip once, got {twice!r} again. Give clips names of their own.")


def main(arguments: argparse.Namespace) -> int:
    """Prepare a corpus; 0 where the cache holds some of it, 1 where not."""
    # Imports every dataset, which nothing else here needs.
    from training.datasets.registry import find_corpus

    corpus, detector = find_corpus(arguments.corpus), MtcnnFaceDetector(device=str(available_device(arguments.device)))
    report = prepare(
        corpus_clips(corpus, arguments.root, arguments.fold),
        arguments.output,
        corpus=corpus.name,
        cropper=FaceCropper(arguments.alignment, arguments.low_light, detector, arguments.crop_size),
        num_processes=arguments.processes,
        retry=arguments.retry,
    )
    _tell(report, arguments.output)
    return 0 if report.num_prepared else 1


def _tell(report: PreparationReport, output: Path) -> None:
    lines = [f"{report.num_prepared} clips in {output}, {report.num_new} of them new"]
    for title, found in (
        ("prepared, but odd", {name: " ".join(texts) for name, texts in report.warnings.items()}),
        (f"not prepared (all in {INDEX_NAME}; --retry tries them again)", report.failures),
    ):
        if found:
            lines.append(f"{len(found)} {title}:")
            lines += [f"  {name}: {text}" for name, text in list(found.items())[:5]]
    sys.stdout.write("\n".join(lines) + "\n")
