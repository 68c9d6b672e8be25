"""Files that take the answers of a run one by one, as JSON or CSV, so that a long run holds one answer at a time."""

import csv
import json
import sys
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from .prediction import ClipPrediction, error_row

Answer = ClipPrediction | dict[str, Any]
"""What became of a file: its prediction, or the row that says why there is none."""

SCREEN = Path("-")
"""Stands for standard output."""


class AnswerFile(ABC):
    """A file that takes its place only when it is whole; until then its name ends in `.partial`.

    A run that breaks off leaves what was there before, and what it had found beside it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        # Renaming would put a plain file in the place of a device or a pipe.
        in_place = path == SCREEN or (path.exists() and not path.is_file())
        self.written_to = path if in_place else path.with_name(f"{path.name}.partial")
        self.stream: TextIO = sys.stdout

    def __enter__(self) -> "AnswerFile":
        if self.path != SCREEN:
            self.stream = self.written_to.open("w", encoding="utf-8", newline="")
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.finish()
        self.stream.flush()
        if self.path != SCREEN:
            self.stream.close()
        if error_type is not None:
            sys.stderr.write(f"What was answered so far is in {str(self.written_to)!r}.\n")
        elif self.written_to != self.path:
            self.written_to.replace(self.path)

    @abstractmethod
    def add(self, answer: Answer) -> None:
        """Write the next answer."""

    @abstractmethod
    def finish(self) -> None:
        """Write what is still to be written."""


class JsonFile(AnswerFile):
    """An object for each answer, in a list where there may be several."""

    def __init__(self, path: Path, *, as_list: bool) -> None:
        super().__init__(path)
        self.as_list = as_list
        self.num_answers = 0

    def add(self, answer: Answer) -> None:
        """Write the next answer."""
        entry = answer if isinstance(answer, dict) else answer.to_dict()
        if self.as_list:
            self.stream.write(",\n" if self.num_answers else "[\n")
        json.dump(entry, self.stream, indent=2, ensure_ascii=False)
        self.num_answers += 1

    def finish(self) -> None:
        """Close the list."""
        if self.as_list:
            self.stream.write("\n]" if self.num_answers else "[]")
        self.stream.write("\n")


class CsvFile(AnswerFile):
    """A row for each face and frame, and one for each error.

    Error rows wait for the first prediction, since only that one knows all columns.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.writer: csv.DictWriter | None = None
        self.waiting: list[dict[str, Any]] = []

    def add(self, answer: Answer) -> None:
        """Write the next answer."""
        rows = [answer] if isinstance(answer, dict) else list(answer.to_rows())
        if self.writer is None and isinstance(answer, dict):
            self.waiting += rows
            return
        writer = self.writer or self._start(list(rows[0]))
        writer.writerows(rows)

    def finish(self) -> None:
        """Write the rows that still wait."""
        if self.writer is None:
            self._start(list(error_row("", "")))

    def _start(self, columns: list[str]) -> csv.DictWriter:
        self.writer = csv.DictWriter(self.stream, fieldnames=columns, restval="")
        self.writer.writeheader()
        self.writer.writerows(self.waiting)
        return self.writer
