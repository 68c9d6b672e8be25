"""Compare a dataset on disk with its release: `python -m training.check <dataset> <root> [--fold 1] [--deep]`."""

from training.arguments import run_module

if __name__ == "__main__":
    # Before the imports that take seconds.
    raise SystemExit(run_module("check"))

import argparse
import dataclasses
import json
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from training.datasets.clip_check import MIN_FRAMES, ClipReport, check_clips
from training.datasets.corpus import Clip, Corpus, CorpusError, Split
from training.datasets.folds import check_fold
from training.datasets.registry import find_corpus

NUM_SHOWN = 10
"""Clips that are named of each kind; all of them are in the JSON file."""


@dataclasses.dataclass(frozen=True)
class FoldReport:
    """The contents of a fold's annotation.

    Args:
        fold: Which, or None where the corpus has one division.
        num_clips: Clips to train on and to test on; empty where the annotation could not be read.
        class_counts: For training and test, labels of each class: of clips, or of frames where these have their own.
        expected_clips: As the release has it, where it is known.
        expected_classes: Of training and test together, as the release has it, where it is known.
        left_out: Why clips of the annotation are left out, and how many.
        error: Why the annotation could not be read.
    """

    fold: int | None
    num_clips: Mapping[str, int] = dataclasses.field(default_factory=dict)
    class_counts: Mapping[str, Mapping[str, int]] = dataclasses.field(default_factory=dict)
    expected_clips: Mapping[str, int] = dataclasses.field(default_factory=dict)
    expected_classes: Mapping[str, int] = dataclasses.field(default_factory=dict)
    left_out: Mapping[str, int] = dataclasses.field(default_factory=dict)
    error: str | None = None

    @property
    def title(self) -> str:
        """Name of the fold."""
        return "one division" if self.fold is None else f"fold {self.fold}"

    @property
    def totals(self) -> dict[str, int]:
        """Labels of each class, of training and test together."""
        parts = self.class_counts
        return {name: sum(counts[name] for counts in parts.values()) for name in parts.get("train", {})}

    @property
    def differences(self) -> list[str]:
        """Differences from the release, one sentence each."""
        if self.error is not None:
            return [f"{self.title}: {self.error}"]
        found = [(f"clips in {part}", self.num_clips[part], n) for part, n in self.expected_clips.items()]
        found += [(f"{name} clips", self.totals.get(name, 0), n) for name, n in self.expected_classes.items()]
        return [
            f"{self.title}: expected {n} {what}, found {count} ({count - n:+d})"
            for what, count, n in found
            if count != n
        ]


@dataclasses.dataclass
class ClipTally:
    """The state of the files of all clips; names are kept only of clips with a defect.

    Args:
        num_examined: How many clips were looked at.
        missing: Reports of clips that are not there.
        unreadable: Reports of clips that cannot be read.
        short: Reports of clips of few frames.
        num_frames: Frames of those whose frames could be counted: how many clips, fewest, most and sum.
    """

    num_examined: int = 0
    missing: list[ClipReport] = dataclasses.field(default_factory=list)
    unreadable: list[ClipReport] = dataclasses.field(default_factory=list)
    short: list[ClipReport] = dataclasses.field(default_factory=list)
    num_frames: tuple[int, int, int, int] = (0, sys.maxsize, 0, 0)

    def add(self, report: ClipReport) -> None:
        """Add the report of a clip."""
        self.num_examined += 1
        if report.missing is not None:
            self.missing.append(report)
        if report.unreadable is not None:
            self.unreadable.append(report)
        if report.is_short:
            self.short.append(report)
        if report.num_frames is not None:
            clips, fewest, most, total = self.num_frames
            frames = report.num_frames
            self.num_frames = clips + 1, min(fewest, frames), max(most, frames), total + frames


def read_folds(corpus: Corpus, root: Path, folds: Sequence[int | None]) -> tuple[list[FoldReport], list[Clip]]:
    """Read the annotation of folds, and collect the clips of all, each once."""
    reports, clips = [], {}
    for fold in folds:
        try:
            split = corpus.load(root, fold)
        except CorpusError as error:
            reports.append(FoldReport(fold, error=f"{type(error).__name__}: {error}"))
            continue
        reports.append(describe_fold(corpus, split))
        clips.update((clip.name, clip) for clip in (*split.train, *split.test))
    return reports, list(clips.values())


def describe_fold(corpus: Corpus, split: Split) -> FoldReport:
    """Count the clips of a division, class by class, beside what the release holds."""
    parts = {"train": split.train, "test": split.test}
    return FoldReport(
        fold=split.fold,
        num_clips={part: len(clips) for part, clips in parts.items()},
        class_counts={part: count_classes(clips, split) for part, clips in parts.items()},
        expected_clips=corpus.expected.get(str(split.fold or 1), {}),
        expected_classes=corpus.expected.get("classes", {}),
        left_out=dict(split.left_out),
    )


def count_classes(clips: Iterable[Clip], split: Split) -> dict[str, int]:
    """Count the labels of each class, in the order of the classes; of frames where these are labelled one by one."""
    counts: Counter[str] = Counter()
    for clip in clips:
        labels = (clip.label,) if clip.frame_labels is None else clip.frame_labels
        counts.update(str(label) for label in labels if label is not None)
    return {str(name): counts[str(name)] for name in split.label_names}


def fold_table(report: FoldReport) -> str:
    """Lay out a fold as a table: a row for each class, then the clips."""
    if report.error is not None:
        return f"{report.title}\n  {report.error}\n"
    rows: list[tuple[str, ...]] = [(report.title, "train", "test", "total", "release", "")]
    for name, total in report.totals.items():
        counts = [str(report.class_counts[part][name]) for part in ("train", "test")]
        expected = report.expected_classes.get(name)
        mark = "" if expected in (None, total) else "differs"
        rows.append((name, *counts, str(total), "" if expected is None else str(expected), mark))
    num_clips, release = report.num_clips, report.expected_clips
    rows.append(("clips", str(num_clips["train"]), str(num_clips["test"]), str(sum(num_clips.values())), "", ""))
    if release:
        cells = [str(release.get(part, "?")) for part in num_clips]
        total = str(sum(release.values())) if len(release) == len(num_clips) else "?"
        mark = "" if all(num_clips[part] == count for part, count in release.items()) else "differs"
        rows.append(("release", *cells, total, "", mark))
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = []
    for name, *cells, mark in rows:
        aligned = (cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True))
        lines.append("  ".join((name.ljust(widths[0]), *aligned, mark)).rstrip())
    lines.insert(1, "-" * max(map(len, lines)))
    lines += [f"left out: {count} × {reason}" for reason, count in report.left_out.items()]
    return "\n".join(lines) + "\n"


def clip_summary(tally: ClipTally, *, deep: bool) -> str:
    """Say how many clips are there, and name the first of those that have a defect."""
    counted, fewest, most, total = tally.num_frames
    how = "every frame decoded" if deep else "first and last frame looked at; --deep decodes all"
    lines = [f"files: {tally.num_examined} clips, {how}"]
    if counted:
        lines.append(f"frames of a clip: {fewest} to {most}, mean {total / counted:.1f}")
    kinds = (
        ("missing", tally.missing, [report.missing for report in tally.missing]),
        ("unreadable", tally.unreadable, [report.unreadable for report in tally.unreadable]),
        (f"shorter than {MIN_FRAMES} frames", tally.short, [f"{report.num_frames} frames" for report in tally.short]),
    )
    for kind, reports, reasons in kinds:
        lines.append(f"{kind}: {len(reports)}")
        shown = list(zip(reports, reasons, strict=True))[:NUM_SHOWN]
        lines += [f"  {report.name}  {report.source}: {reason}" for report, reason in shown]
        if len(reports) > NUM_SHOWN:
            lines.append(f"  and {len(reports) - NUM_SHOWN} more; --json FILE lists all")
    return "\n".join(lines) + "\n"


def as_json(
    corpus: Corpus, root: Path, folds: Sequence[FoldReport], tally: ClipTally, *, deep: bool
) -> dict[str, Any]:
    """Return everything that was found, for other programs."""

    def listed(reports: Sequence[ClipReport]) -> list[dict[str, Any]]:
        return [
            {
                "name": report.name,
                "source": str(report.source),
                "num_frames": report.num_frames,
                "reason": report.missing or report.unreadable,
            }
            for report in reports
        ]

    return {
        "corpus": corpus.name,
        "root": str(root),
        "deep": deep,
        "as_expected": is_as_expected(folds, tally),
        "differences": [difference for fold in folds for difference in fold.differences],
        "folds": [dataclasses.asdict(fold) for fold in folds],
        "clips": {
            "examined": tally.num_examined,
            "missing": listed(tally.missing),
            "unreadable": listed(tally.unreadable),
            "short": listed(tally.short),
        },
        "release": corpus.source,
    }


def is_as_expected(folds: Sequence[FoldReport], tally: ClipTally) -> bool:
    """Return whether nothing is missing, unreadable or different from the release, which has short clips too."""
    return not (tally.missing or tally.unreadable or any(fold.differences for fold in folds))


def main(arguments: argparse.Namespace) -> int:
    """Check a dataset and report.

    Returns:
        0 when everything is as in the release; 1 when something is missing, unreadable or different; 2 for wrong
        use: an unknown dataset, a fold that it does not have, a folder that does not exist.
    """
    try:
        corpus = find_corpus(arguments.corpus)
        _check_use(arguments, corpus)
    except CorpusError as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return 2
    folds = range(1, corpus.num_folds + 1) if corpus.num_folds > 1 else [None]
    if arguments.fold is not None:
        folds = [arguments.fold]
    reports, clips = read_folds(corpus, arguments.root, list(folds))
    sys.stdout.write(f"{corpus.title} in {arguments.root}\n\n")
    nothing_read = all(report.error is not None for report in reports)
    for report in reports[:1] if nothing_read else reports:
        sys.stdout.write(f"{fold_table(report)}\n")
    if nothing_read and len(reports) > 1:
        sys.stdout.write(f"nor could any of the other {len(reports) - 1} folds be read\n\n")
    sys.stdout.flush()

    tally = ClipTally()
    checked = check_clips(clips, deep=arguments.deep, num_workers=arguments.workers)
    for report in tqdm(checked, total=len(clips), desc="clips", disable=None):
        tally.add(report)
    if clips:
        sys.stdout.write(f"{clip_summary(tally, deep=arguments.deep)}\n")
    differences = [line for report in reports if report.error is None for line in report.differences]
    for difference in differences:
        sys.stdout.write(f"differs: {difference}\n")
    if differences:
        sys.stdout.write(f"the release, according to: {corpus.source}\n")
    as_expected = is_as_expected(reports, tally)
    sys.stdout.write("as expected\n" if as_expected else "not as expected\n")
    if arguments.json is not None:
        found = as_json(corpus, arguments.root, reports, tally, deep=arguments.deep)
        arguments.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return 0 if as_expected else 1


def _check_use(arguments: argparse.Namespace, corpus: Corpus) -> None:
    if arguments.fold is not None:
        check_fold(corpus.title, arguments.fold, corpus.num_folds)
    if not arguments.root.is_dir():
        raise CorpusError(
            f"Expected the folder of {corpus.title}, but there is no folder {arguments.root}. Pass the folder of the "
            "release."
        )
    if arguments.json is not None and not arguments.json.absolute().parent.is_dir():
        raise CorpusError(
            f"Expected a folder for --json, but there is none at {arguments.json.absolute().parent}. Make it first."
        )
    if arguments.workers < 1:
        raise CorpusError(f"Expected --workers of at least 1, got {arguments.workers}.")
