"""A predictor that is sent to other processes by what it is to load, and answers paths with rows."""

import functools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..file_run import FILE_ERRORS, hash_content, reason
from ..predictor import ENGINES, VideoPredictor
from ..video import DEFAULT_LIMITS, VideoLimits
from .rows import column_types, error_rows, face_rows


@dataclass(frozen=True)
class BatchPredictor:
    """Answers paths with flat rows, for pools of processes and for `map_batches` of Ray Data.

    It holds no weights, so that it is small to send: each process loads them once, when it gets its first path.

    ```
    ray.data.from_items([{"path": path} for path in paths]).map_batches(
        BatchPredictor, fn_constructor_args=("dfer-aen-small",), concurrency=2, batch_size=4
    )
    ```

    Args:
        model_id: A checkpoint that ships with the package, a folder, or a Hub id.
        revision: Of the Hub repository; `main` when left out.
        engine: What answers crops: one of `ENGINES`.
        device: Where torch runs; a GPU where there is one.
        token: Of the Hub, for a private repository.
        limits: What to refuse of files.

    Raises:
        ValueError: If there is no such engine.
    """

    model_id: str
    revision: str | None = None
    engine: str = "torch"
    device: str | None = None
    token: str | None = None
    limits: VideoLimits = DEFAULT_LIMITS

    def __post_init__(self) -> None:
        if self.engine not in ENGINES:
            raise ValueError(f"Unknown engine {self.engine!r}: expected one of {', '.join(ENGINES)}.")

    def __call__(self, paths: Sequence[str | Path] | Mapping[str, Any]) -> Any:
        """Answer files; one that cannot be answered is one row with an error.

        Args:
            paths: Of the files; or a batch of Ray Data with the column `path`.

        Returns:
            A list of rows with the columns of `column_types`, in the order of the paths and of each file the face seen
            longest first; of a batch a table of pyarrow.

        Raises:
            CheckpointError: If the checkpoint cannot be loaded.
            KeyError: If a batch has no column `path`.
        """
        if not isinstance(paths, Mapping):
            return [row for path in paths for row in self.rows_of(Path(path))]
        from .parts import as_table

        if "path" not in paths:
            raise KeyError(f"Expected a batch with the column 'path', got {', '.join(paths)}.")
        rows = [row for path in paths["path"] for row in self.rows_of(Path(str(path)))]
        return as_table(rows, self.columns)

    @property
    def columns(self) -> dict[str, str]:
        """Columns of the rows, and what is in them.

        Raises:
            CheckpointError: If the checkpoint cannot be loaded.
        """
        return column_types(self.predictor.labels, self.predictor.groups)

    @property
    def predictor(self) -> VideoPredictor:
        """The predictor of this process.

        Raises:
            CheckpointError: If the checkpoint cannot be loaded.
        """
        return _loaded(self.model_id, self.revision or "main", self.engine, self.device, self.token)

    def rows_of(self, path: Path, *, content_hash: str | None = None) -> list[dict[str, Any]]:
        """Answer one file.

        Args:
            path: Of the file.
            content_hash: What `hash_content` says of it, where that is known.

        Raises:
            CheckpointError: If the checkpoint cannot be loaded.
        """
        predictor, started = self.predictor, time.monotonic()
        try:
            content_hash = content_hash or hash_content(path)
            found = predictor(path, limits=self.limits)
        except FILE_ERRORS as error:
            return error_rows(
                path,
                self.columns,
                model=predictor.name,
                content_hash=content_hash,
                error_name=type(error).__name__,
                error=reason(error),
                analysis_seconds=time.monotonic() - started,
            )
        return face_rows(found, path, content_hash=content_hash, analysis_seconds=time.monotonic() - started)


@functools.cache
def _loaded(model_id: str, revision: str, engine: str, device: str | None, token: str | None) -> VideoPredictor:
    return VideoPredictor.from_pretrained(model_id, engine=engine, revision=revision, device=device, token=token)
