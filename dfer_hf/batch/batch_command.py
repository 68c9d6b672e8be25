"""What `dfer batch` does: answer many files by several workers, and keep the rows as parquet."""

import argparse
import json
import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..checkpoints import DEFAULT_CHECKPOINT
from ..file_run import FileBar, limits_of, load_predictor, outputs_are_written, work_through
from ..job_limits import usable_cores
from ..output_files import UsageError, partial_path, printable
from ..predictor import VideoPredictor
from .batch_predictor import BatchPredictor
from .crew import Crew, Workers, WorkersFailedError
from .process_workers import ProcessWorkers
from .rows import column_types

SETTINGS = "_batch.json"
"""Says which model the rows of a folder are of; readers of parquet folders leave out what begins with `_`."""

RAY, ONNX = "ray", "onnx"


def batch(options: argparse.Namespace) -> int:
    """Answer files by several workers, write a part for each, and return the exit code.

    Raises:
        UsageError: If a library, the model, the device or the output cannot be had.
    """
    _check_installed("pyarrow", "parquet")
    if options.on == RAY:
        _check_installed("ray", RAY)
    # It needs pyarrow.
    from .job import BatchJob

    with outputs_are_written():
        # Workers may stand in another folder.
        files, folder = [_absolute(file) for file in options.files], _absolute(options.output)
        name = options.model or DEFAULT_CHECKPOINT
        # Only workers need the device, which graphs refuse.
        here = options.device if options.engine == ONNX else "cpu"
        predictor = load_predictor(argparse.Namespace(**vars(options) | {"device": here}), name)
        _claim(folder, predictor)
        sent = BatchPredictor(
            str(_absolute(Path(name))) if Path(name).is_dir() else name,
            options.revision,
            options.engine,
            device=options.device,
            token=options.token,
            limits=limits_of(options),
        )
        columns = tuple(column_types(predictor.labels, predictor.groups).items())
        job = BatchJob(sent, folder, predictor.name, columns)
        del predictor
        workers, num_workers = _workers(job, options, most=len(files))
        bar = FileBar(len(files), is_shown=not options.quiet)
        crew = Crew(files, job, workers, num_workers=num_workers, report=lambda: bar.move(0.0))
        try:
            code = work_through(files, lambda file, _: crew.outcome(_absolute(file)).error, bar, [workers])
        except WorkersFailedError as error:
            raise UsageError(f"The workers cannot go on: {error}") from error
    if not options.quiet:
        print(_summary(crew, options.output))  # noqa: T201
    return code


def _workers(job: Any, options: argparse.Namespace, *, most: int) -> tuple[Workers, int]:
    """The workers, and how many: as many as asked for, else one for each core or GPU, but no more than files."""
    if options.on == RAY:
        from .ray_workers import RayWorkers

        workers = RayWorkers(job, needs_gpu=(options.device or "").startswith("cuda"))
        return workers, min(options.workers or workers.num_places, most)
    num_gpus = 0 if options.device or options.engine == ONNX else _count_gpus()
    devices = [f"cuda:{index}" for index in range(num_gpus)] or [options.device or "cpu"]
    num_workers = min(options.workers or num_gpus or (usable_cores() if devices == ["cpu"] else 1), most)
    return ProcessWorkers(job, num_workers=num_workers, devices=devices), num_workers


def _count_gpus() -> int:
    import torch

    return torch.cuda.device_count()


def _check_installed(library: str, extra: str) -> None:
    if find_spec(library) is None:
        raise UsageError(f"Expected {library}, which is not installed: run `pip install dfer-hf[{extra}]`.")


def _claim(folder: Path, predictor: VideoPredictor) -> None:
    """Have a folder say which model its rows are of.

    Raises:
        UsageError: If they are of another one, or if it holds anything else.
    """
    settings = json.loads(json.dumps(_settings(predictor)))
    file = folder / SETTINGS
    folder.mkdir(parents=True, exist_ok=True)
    if file.is_file():
        there = _read_settings(file)
        other = [name for name in settings if there.get(name) != settings[name]]
        if other:
            raise UsageError(
                f"Expected a folder with rows of {settings['model']!r}, but those in {str(folder)!r} were made with "
                f"another {' and '.join(other)}. Name another folder."
            )
        return
    if any(not path.name.startswith(".") for path in folder.iterdir()):
        raise UsageError(
            f"Expected a new folder, or one of an earlier `dfer batch`, but {str(folder)!r} holds other files. "
            "Name another folder."
        )
    unfinished = partial_path(file)
    unfinished.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    unfinished.replace(file)


def _read_settings(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UsageError(f"Expected JSON in {str(file)!r}: {error}. Name another folder.") from error
    return content if isinstance(content, dict) else {}


def _settings(predictor: VideoPredictor) -> dict[str, Any]:
    """What rows depend on; not the version, since a later one reads what an earlier one began."""
    classes = {"labels": predictor.labels, "groups": predictor.groups}
    made_by = {"model": predictor.name, "weights or configuration": predictor.engine.digest()}
    return made_by | {"settings": predictor.settings} | classes


def _summary(crew: Crew, folder: Path) -> str:
    outcomes = list(crew.outcomes.values())
    num_errors = sum(bool(outcome.error) for outcome in outcomes)
    num_there = sum(outcome.was_there for outcome in outcomes)
    num_rows = sum(outcome.num_rows for outcome in outcomes)
    counts = f"{len(outcomes) - num_errors} files answered, {num_errors} with an error"
    return f"{printable(str(folder))}: {counts}, {num_rows} rows; {num_there} files were there from an earlier run"


def _absolute(path: Path) -> Path:
    """The absolute path, in which links stay links."""
    return Path(os.path.abspath(path))  # noqa: PTH100
