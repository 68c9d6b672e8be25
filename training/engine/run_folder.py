"""The folder of a run: all it takes to run it again, where it stands, and what came of it."""

import csv
import dataclasses
import importlib.metadata
import json
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any

from accelerate import Accelerator

PACKAGES = ("dfer-hf", "torch", "torchvision", "transformers", "accelerate", "numpy", "opencv-python-headless")
Row = dict[str, float]


def git_state() -> dict[str, Any]:
    """Commit of the code and whether it was changed since; empty where the code is no git checkout."""
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
    """Version of an installed package, or None."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


class RunFolder:
    """What a run writes beside its checkpoints, and how it goes on after it was stopped.

    `run.json` holds configuration, data, versions and git state; `log.csv` a row for each epoch; `state/` what
    `Accelerator.save_state` writes, in two folders by turns, so that one is whole whenever the run is stopped;
    `progress.json`, written last and in one piece, says which.

    Args:
        folder: Made if missing.
        config: The run, a dataclass of plain values.
        settings: What else decides its results: fold, number of processes.

    Raises:
        ValueError: If the folder holds a run of another configuration.
    """

    def __init__(self, folder: Path, config: Any, settings: dict[str, Any]) -> None:
        self.folder = folder
        self.rows: list[Row] = []
        self.best_epoch: int | None = None
        self.epochs_done = 0
        described = json.loads(json.dumps({"config": dataclasses.asdict(config), **settings}))
        written = folder / "run.json"
        if (folder / "progress.json").is_file():
            before = json.loads(written.read_text(encoding="utf-8"))
            differing = sorted(key for key, value in described.items() if before.get(key) != value)
            if differing:
                raise ValueError(
                    f"Expected the run in {folder.name!r} to go on as it began, but {', '.join(differing)} differs. "
                    "Give the same recipe and options, or another output folder."
                )
            progress = json.loads((folder / "progress.json").read_text(encoding="utf-8"))
            self.rows, self.best_epoch = progress["rows"], progress["best_epoch"]
            self.epochs_done = progress["epochs_done"]
        self._described = described

    def describe(self) -> None:
        """Write what it takes to run it again."""
        self.folder.mkdir(parents=True, exist_ok=True)
        versions = {package: installed_version(package) for package in PACKAGES}
        versions["python"] = platform.python_version()
        content = self._described | {"versions": versions, "git": git_state()}
        (self.folder / "run.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")

    @property
    def is_new(self) -> bool:
        """Whether no epoch was finished yet."""
        return self.epochs_done == 0

    @property
    def state(self) -> Path:
        """Folder of the state after the epochs done."""
        return self.folder / "state" / str(self.epochs_done % 2)

    def load_state(self, accelerator: Accelerator) -> None:
        """Bring everything back to where it stood after the last whole epoch."""
        accelerator.load_state(str(self.state))

    def save_state(self, accelerator: Accelerator, row: Row, *, is_best: bool) -> None:
        """Save everything after an epoch; called by all processes."""
        self.rows.append(row)
        if is_best:
            self.best_epoch = int(row["epoch"])
        self.epochs_done += 1
        accelerator.save_state(str(self.state))
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            progress = {"epochs_done": self.epochs_done, "best_epoch": self.best_epoch, "rows": self.rows}
            half = self.folder / "progress.json.half"
            half.write_text(json.dumps(progress, indent=2) + "\n", encoding="utf-8")
            half.replace(self.folder / "progress.json")
            self.write_log()
        accelerator.wait_for_everyone()

    def write_log(self) -> None:
        """Write a row for each epoch as CSV."""
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        with (self.folder / "log.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=names)
            writer.writeheader()
            writer.writerows(self.rows)
