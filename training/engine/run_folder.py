"""The folder of a run: its recipe, its progress and its results."""

import csv
import dataclasses
import importlib.metadata
import json
import platform
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from transformers import PreTrainedModel
from transformers.video_processing_utils import BaseVideoProcessor

from dfer_hf.checkpoints import CONFIG, find_checkpoint
from training.cache.prepared import differing
from training.disk import explain_full_disk, file_hash, write_whole

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

PACKAGES = ("dfer-hf", "torch", "torchvision", "transformers", "accelerate", "numpy", "opencv-python-headless")
PROGRESS = "progress.json"
# Fields that change no result, or follow from others.
_WITHOUT_EFFECT = ("config.trackers", "recipe_sha256", "cache.preparation_sha256")
Row = dict[str, float]


class RunFolderError(ValueError):
    """A run cannot be resumed or read; the message says what to do."""


@dataclass
class Progress:
    """How far a run has come.

    Args:
        epochs_done: Whole epochs.
        best_epoch: The epoch whose weights are kept, counted from 0; None before the first is done.
        rows: A row of the log for each epoch.
    """

    epochs_done: int = 0
    best_epoch: int | None = None
    rows: list[Row] = field(default_factory=list)


class RunFolder:
    """The files of a run, and how it resumes after it was stopped.

    `run.json` holds configuration, data, versions and git state; `clips.csv` the clips that it learns from;
    `log.csv` a row for each epoch. `state/` holds what `Accelerator.save_state` writes, in two folders by turns. Each
    has its progress and the hashes of its files, so that one of them is complete whenever the run is stopped.

    Args:
        folder: Is created when the run begins.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.progress = Progress()

    @classmethod
    def around(cls, path: str | Path) -> "RunFolder | None":
        """Find the run of a path, which is its folder or the `checkpoint` or `hub` in it; None if there is none."""
        path = Path(path)
        runs = [cls(folder) for folder in (path, path.resolve().parent) if (folder / "run.json").is_file()]
        return next((run for run in runs if run.clips_file.is_file()), runs[0] if runs else None)

    @property
    def checkpoint(self) -> Path:
        """Folder of the model and the processor of the best epoch."""
        return self.folder / "checkpoint"

    @property
    def hub(self) -> Path:
        """Folder ready to upload."""
        return self.folder / "hub"

    @property
    def evaluation(self) -> Path:
        """Folder of what was measured on the run's own test part."""
        return self.folder / "evaluation"

    @property
    def record_file(self) -> Path:
        """File of the configuration, data and versions, from which the run can be repeated."""
        return self.folder / "run.json"

    @property
    def clips_file(self) -> Path:
        """File of the clips that the weights have learnt from."""
        return self.folder / "clips.csv"

    @property
    def initialisation_file(self) -> Path:
        """File that says which first weights were taken from where."""
        return self.folder / "initialisation.json"

    @property
    def log_file(self) -> Path:
        """File with a row for each epoch."""
        return self.folder / "log.csv"

    @property
    def progress_file(self) -> Path:
        """File of the progress, for people and other programs; a run resumes from what `state` holds."""
        return self.folder / PROGRESS

    @property
    def states(self) -> tuple[Path, Path]:
        """Folders of the last two states."""
        return self.folder / "state" / "0", self.folder / "state" / "1"

    def read_record(self) -> dict[str, Any]:
        """Read `run.json`.

        Raises:
            RunFolderError: If there is none, or it is damaged.
        """
        if not self.record_file.is_file():
            raise RunFolderError(f"Expected a run with a run.json in {self.folder}, found none. Name a run folder.")
        record = _read_json(self.record_file)
        if record is None:
            raise RunFolderError(
                f"Expected JSON in {self.record_file}, but it is damaged. Restore it, or train into another folder."
            )
        return record

    def read_progress(self) -> Progress:
        """Read how far the run has come, whether its state is complete or not."""
        found = [_read_progress(folder / PROGRESS) for folder in (self.folder, *self.states)]
        return max((each for each in found if each), key=lambda each: each.epochs_done, default=Progress())

    @contextmanager
    def opened(
        self, config: Any, settings: Mapping[str, Any], *, num_epochs: int, is_main_process: bool = True
    ) -> Iterator[None]:
        """Start or resume the run, with no other process in its folder.

        Args:
            config: The recipe, a dataclass of plain values.
            settings: What else decides its results: data, number of processes.
            num_epochs: After which the run is finished, and needs no state.
            is_main_process: Whether this process writes.

        Raises:
            RunFolderError: If another process trains in the folder, it holds a run of another configuration, or no
                state of the run is whole.
            DiskFullError: If the disk is full.
        """
        described = json.loads(json.dumps({"config": dataclasses.asdict(config), **settings}))
        self.folder.mkdir(parents=True, exist_ok=True)
        with explain_full_disk(self.folder), self._alone() if is_main_process else nullcontext():
            self.progress = self.read_progress()
            if self.progress.epochs_done:
                self._check_same(described)
            if 0 < self.progress.epochs_done < num_epochs:
                self.progress = self._last_whole(say=is_main_process)
            elif is_main_process and self.is_new:
                versions = {package: installed_version(package) for package in PACKAGES}
                versions["python"] = platform.python_version()
                content = {"id": uuid.uuid4().hex, **described, "versions": versions, "git": git_state()}
                write_whole(self.record_file, json.dumps(content, indent=2) + "\n")
            try:
                yield
            except KeyboardInterrupt:
                if is_main_process:
                    sys.stderr.write(
                        f"Stopped in epoch {self.progress.epochs_done}, which begins again when the run is started "
                        "with the same --output.\n"
                    )
                raise

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with (self.folder / "run.lock").open("w", encoding="utf-8") as file:
            if fcntl is not None:
                try:
                    # Unlike `flock`'s, this lock is not inherited by the loader's workers, which outlive a killed run
                    # by some seconds.
                    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except (BlockingIOError, PermissionError) as error:
                    raise RunFolderError(
                        f"Expected to be alone in {self.folder}, but another process trains there. Wait for it to "
                        "end, or give another --output."
                    ) from error
            yield

    def _check_same(self, described: Mapping[str, Any]) -> None:
        before, now = flatten(self.read_record()), flatten(described)
        kept = {name: before.get(name) for name in (*now, *before) if name.split(".")[0] in described}
        for name in _WITHOUT_EFFECT:
            kept.pop(name, None)
            now.pop(name, None)
        was, is_now = differing(kept, now)
        if was:
            raise RunFolderError(
                f"Expected the run in {self.folder} to go on as it began, with {was}; got {is_now}. "
                "Give the same recipe, data and options, or another --output."
            )

    def _last_whole(self, *, say: bool) -> Progress:
        """Return the progress of the last state whose files are all as they were written."""
        states = [(folder, _read_progress(folder / PROGRESS)) for folder in self.states]
        for folder, progress in sorted(states, key=lambda state: -(state[1].epochs_done if state[1] else 0)):
            if progress is not None and self._is_whole(folder):
                if say and progress.epochs_done < self.progress.epochs_done:
                    sys.stderr.write(
                        f"The state after epoch {self.progress.epochs_done - 1} in {self.folder} is damaged: the run "
                        f"goes on from the one before it, after epoch {progress.epochs_done - 1}.\n"
                    )
                return progress
        raise RunFolderError(
            f"Expected a whole state in {self.folder / 'state'}, but every one there is damaged or incomplete. The "
            "checkpoint is as it was; to train again, give another --output."
        )

    def _is_whole(self, state: Path) -> bool:
        hashes: dict[str, str] = (_read_json(state / PROGRESS) or {}).get("files", {})
        return bool(hashes) and all(
            (state / name).is_file() and file_hash(state / name) == digest for name, digest in hashes.items()
        )

    @property
    def is_new(self) -> bool:
        """Whether no epoch was finished yet."""
        return self.progress.epochs_done == 0

    @property
    def state(self) -> Path:
        """Folder of the state after the epochs done."""
        return self.states[self.progress.epochs_done % 2]

    def load_state(self, accelerator: Accelerator) -> None:
        """Restore everything as it was after the last complete epoch."""
        accelerator.load_state(str(self.state))

    def save_state(self, accelerator: Accelerator, row: Row, *, is_best: bool) -> None:
        """Save everything after an epoch; all processes call it."""
        best_epoch = int(row["epoch"]) if is_best else self.progress.best_epoch
        self.progress = Progress(self.progress.epochs_done + 1, best_epoch, [*self.progress.rows, row])
        if accelerator.is_main_process:
            # Until its new progress is written, this state counts as incomplete.
            (self.state / PROGRESS).unlink(missing_ok=True)
        accelerator.wait_for_everyone()
        accelerator.save_state(str(self.state))
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            content = dataclasses.asdict(self.progress)
            files = sorted(path for path in self.state.rglob("*") if path.is_file())
            hashes = {path.relative_to(self.state).as_posix(): file_hash(path) for path in files}
            write_whole(self.state / PROGRESS, json.dumps(content | {"files": hashes}, indent=2) + "\n")
            write_whole(self.progress_file, json.dumps(content, indent=2) + "\n")
            self.write_log()
        accelerator.wait_for_everyone()

    def save_checkpoint(self, model: PreTrainedModel, processor: BaseVideoProcessor) -> None:
        """Replace the checkpoint by model and processor once they are completely written."""
        part = self.folder / "checkpoint.part"
        shutil.rmtree(part, ignore_errors=True)
        model.save_pretrained(part)
        processor.save_pretrained(part)
        # Even a copy of the checkpoint tells what it was trained on.
        shutil.copyfile(self.record_file, part / self.record_file.name)
        if self.checkpoint.is_dir():
            shutil.rmtree(self.checkpoint)
        part.rename(self.checkpoint)

    def write_log(self) -> None:
        """Write a row for each epoch as CSV."""
        rows = self.progress.rows
        names = list(dict.fromkeys(name for row in rows for name in row))
        with self.log_file.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=names)
            writer.writeheader()
            writer.writerows(rows)


def locate_checkpoint(name_or_path: str | Path) -> tuple[str, str]:
    """Return where to load a checkpoint from, and what results call it.

    Args:
        name_or_path: A run folder with a `checkpoint` in it, or what `find_checkpoint` takes.

    Raises:
        CheckpointError: If it is none of these.
    """
    run = RunFolder(Path(name_or_path))
    if (run.checkpoint / CONFIG).is_file():
        return str(run.checkpoint), run.folder.resolve().name
    found = find_checkpoint(name_or_path)
    return found, Path(found).resolve().name if Path(found).is_dir() else found


def git_state() -> dict[str, Any]:
    """Return the commit of the code and whether it was changed since; empty where the code is no git checkout."""
    if shutil.which("git") is None:
        return {}

    def ask(*words: str) -> str:
        return subprocess.run(
            ["git", "-C", str(Path(__file__).parent), *words], capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        return {"commit": ask("rev-parse", "HEAD"), "changed": bool(ask("status", "--porcelain"))}
    except subprocess.CalledProcessError:
        return {}


def installed_version(package: str) -> str | None:
    """Return the version of an installed package, or None."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _read_json(path: Path) -> dict[str, Any] | None:
    """Read the object in a JSON file; None where there is no file, or it is damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _read_progress(path: Path) -> Progress | None:
    content = _read_json(path) or {}
    names = {entry.name for entry in dataclasses.fields(Progress)}
    values = {name: value for name, value in content.items() if name in names}
    return Progress(**values) if set(values) == names else None


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the values of nested tables by their dotted names.

    >>> flatten({"schedule": {"kind": "step"}, "seed": 0})
    {'schedule.kind': 'step', 'seed': 0}
    """
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat
