"""Log a run to TensorBoard, Weights & Biases, Trackio or MLflow, as one curve however often it is resumed."""

import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from accelerate import Accelerator
from accelerate.tracking import TensorBoardTracker

from training.engine.run_folder import RunFolder, flatten

PROJECT = "dfer_hf"
TENSORBOARD = "tensorboard"


class TrackerError(ValueError):
    """A tracker that was asked for is not installed."""


def build_trackers(names: Sequence[str], run: RunFolder) -> list[Any]:
    """Build what `Accelerator(log_with=…)` takes; TensorBoard's file is in the run folder.

    Raises:
        TrackerError: If the package of a tracker is not installed.
    """
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        raise TrackerError(
            f"Expected the packages of the run's trackers, but {', '.join(missing)} is not installed. "
            f"Run `pip install {' '.join(missing)}`, or name another tracker: `--trackers {TENSORBOARD}`."
        )
    # The name of a tracker's run is the name of its folder.
    return [TensorBoardTracker(TENSORBOARD, run.folder) if name == TENSORBOARD else name for name in names]


@contextmanager
def tracking(accelerator: Accelerator, run: RunFolder, config: Mapping[str, Any]) -> Iterator[None]:
    """Start or resume the trackers, and end them whatever happens.

    Args:
        accelerator: Built with `build_trackers`.
        run: The run, opened.
        config: Its configuration as plain values.
    """
    if accelerator.is_main_process:
        _start(accelerator, run, config)
    try:
        yield
    finally:
        # Not `end_training`, which would also close the process group.
        for tracker in accelerator.trackers:
            tracker.finish()


def _start(accelerator: Accelerator, run: RunFolder, config: Mapping[str, Any]) -> None:
    # The file is rewritten from the first epoch on, so that a run has one file and each epoch one point.
    for path in (run.folder / TENSORBOARD).glob("events.out.tfevents.*"):
        path.unlink()
    name, identity = run.folder.resolve().name, run.read_record()["id"]
    # MLflow gives runs names of its own.
    mlflow_run = run.folder / "mlflow_run.txt"
    known = {"run_id": mlflow_run.read_text(encoding="utf-8")} if mlflow_run.is_file() else {"run_name": name}
    options = {
        "wandb": {"name": name, "id": identity, "resume": "allow", "dir": str(run.folder)},
        "trackio": {"name": f"{name}-{identity[:8]}", "resume": "allow"},
        "mlflow": known,
    }
    accelerator.init_trackers(PROJECT, init_kwargs=options)
    for tracker in accelerator.trackers:
        if tracker.name == TENSORBOARD:
            for row in run.progress.rows:
                tracker.log(row, step=int(row["epoch"]))
        elif run.is_new:
            tracker.store_init_configuration({field: str(value) for field, value in flatten(config).items()})
        if tracker.name == "mlflow":
            mlflow_run.write_text(tracker.tracker.info.run_id, encoding="utf-8")
