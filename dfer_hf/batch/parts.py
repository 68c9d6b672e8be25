"""Part files of a batch: one parquet file for each path and content, which is there whole or not at all.

The name of a part follows from the path and the bytes that it is about, so that whoever works on a file twice, in two
processes or in two runs, writes the same part twice: rows are neither lost nor doubled.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from .rows import path_text

_TYPES = {
    "string": pa.string(),
    "int64": pa.int64(),
    "float64": pa.float64(),
    "bool": pa.bool_(),
    "list of string": pa.list_(pa.string()),
}
_HASH_LENGTH = 20
UNREAD = "unread"
"""Stands for the content of a file that cannot be read."""


def as_table(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> pa.Table:
    """Turn rows into a table with the columns of `column_types`."""
    schema = pa.schema([(name, _TYPES[kind]) for name, kind in columns.items()])
    return pa.Table.from_pylist([dict(row) for row in rows], schema=schema)


class PartFolder:
    """A folder of parts, which any number of processes and machines may write to.

    Args:
        folder: An existing one.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def part_of(self, path: Path, content_hash: str | None) -> Path:
        """Where the rows of a file are, or are to be."""
        content = (content_hash or UNREAD)[:_HASH_LENGTH]
        return self.folder / f"part-{_path_hash(path)}-{content}.parquet"

    def read(self, part: Path) -> list[dict[str, Any]]:
        """The rows of a part; none where there is no such part."""
        try:
            return parquet.ParquetFile(part).read().to_pylist()
        except FileNotFoundError:
            return []

    def rows_of_copy(self, content_hash: str | None) -> list[dict[str, Any]]:
        """The rows of any file with the same bytes; none where no such file was answered."""
        if content_hash is None:
            return []
        ending = f"-{content_hash[:_HASH_LENGTH]}.parquet"
        for name in self._names():
            if name.endswith(ending) and (rows := self.read(self.folder / name)):
                return rows
        return []

    def write(self, part: Path, rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> None:
        """Write a part, which takes its place when it is whole."""
        buffer = pa.BufferOutputStream()
        parquet.write_table(as_table(rows, columns), buffer)
        # Readers of parquet folders leave out what begins with a dot.
        unfinished = part.with_name(f".{part.name}.{os.getpid()}.partial")
        with unfinished.open("wb") as file:
            file.write(buffer.getvalue())
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(part)

    def keep_only(self, part: Path, path: Path) -> None:
        """Remove the parts on what the file at a path held before."""
        start = f"part-{_path_hash(path)}-"
        for name in self._names():
            if name.startswith(start) and name != part.name:
                (self.folder / name).unlink(missing_ok=True)

    def _names(self) -> list[str]:
        return sorted(name for name in os.listdir(self.folder) if name.startswith("part-"))  # noqa: PTH208  faster


def _path_hash(path: Path) -> str:
    return hashlib.sha256(path_text(path).encode()).hexdigest()[:_HASH_LENGTH]
