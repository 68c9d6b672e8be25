"""Files that take the answers of a run one by one, so that a long run holds one answer at a time."""

import csv
import json
import os
import sys
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any, Generic, TextIO, TypeVar

from .prediction import ClipPrediction, error_row
from .video.placing import place_behind, take_place

Answer = ClipPrediction | dict[str, Any]
"""What became of a file: its prediction, or the row that says why there is none."""

SCREEN = Path("-")
"""Stands for standard output."""


class UsageError(ValueError):
    """The command line asks for something that cannot be."""


def partial_path(target: Path) -> Path:
    """Where a file is written until it is whole: beside it."""
    return target.with_name(_fitting_name(target.stem, f".partial{target.suffix}"))


def _fitting_name(stem: str, suffix: str) -> str:
    """A file name, shortened where file systems would refuse it."""
    name = stem + suffix
    return name if len(os.fsencode(name)) < 256 else stem[:30] + suffix[:30]


Entry = TypeVar("Entry")


class AnswerFile(ABC, Generic[Entry]):
    """A file that takes its place only when it is whole; until then its name has `.partial` in it.

    A run that breaks off leaves what was there before, and what it had found beside it.
    """

    def __init__(self, path: Path) -> None:
        # Renaming would put a plain file in the place of a device or a pipe.
        in_place = path == SCREEN or (path.exists() and not path.is_file())
        self.path = path if in_place else place_behind(path)
        self.written_to = path if in_place else partial_path(self.path)
        self.stream: TextIO = sys.stdout
        self.num_answers = 0

    def __enter__(self) -> "AnswerFile":
        if self.path != SCREEN:
            # Bytes of file names that are no text are spelled out.
            self.stream = self.written_to.open("w", encoding="utf-8", errors="backslashreplace", newline="")
        return self

    def __exit__(self, error_type: type[BaseException] | None, *unused: object) -> None:
        is_whole = False
        try:
            with nullcontext() if self.path == SCREEN else self.stream:
                self.finish()
                self.stream.flush()
            if error_type is None and self.written_to != self.path:
                take_place(self.written_to, self.path)
            is_whole = error_type is None
        finally:
            if not is_whole and self.written_to != self.path:
                self._explain()

    def add(self, answer: Entry) -> None:
        """Write the next answer."""
        self.write(answer)
        self.stream.flush()
        self.num_answers += 1

    @abstractmethod
    def write(self, answer: Entry) -> None:
        """Write the next answer in the file's format."""

    @abstractmethod
    def finish(self) -> None:
        """Write what is still to be written."""

    def _explain(self) -> None:
        """Say where the answers are that were found before the run broke off."""
        with suppress(OSError):
            if self.num_answers:
                sys.stderr.write(f"What was answered so far is in {str(self.written_to)!r}.\n")
            else:
                self.written_to.unlink()


class JsonFile(AnswerFile[Answer]):
    """An object for each answer, in a list where there may be several."""

    def __init__(self, path: Path, *, as_list: bool) -> None:
        super().__init__(path)
        self.as_list = as_list

    def write(self, answer: Answer) -> None:
        """Write the next answer."""
        entry = answer if isinstance(answer, dict) else answer.to_dict()
        if self.as_list:
            self.stream.write(",\n" if self.num_answers else "[\n")
        json.dump(entry, self.stream, indent=2, ensure_ascii=self.stream.encoding.lower() != "utf-8")

    def finish(self) -> None:
        """Close the list."""
        if self.as_list:
            self.stream.write("\n]" if self.num_answers else "[]")
        self.stream.write("\n")


class CsvFile(AnswerFile[Answer]):
    """A row for each face and frame, and one for each error.

    Error rows wait for the first prediction, since only that one knows all columns.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.writer: csv.DictWriter | None = None
        self.waiting: list[dict[str, Any]] = []

    def write(self, answer: Answer) -> None:
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


class HtmlFile(AnswerFile[str]):
    """Articles between the head and the foot of a page.

    Args:
        path: Of the file.
        head: What stands above the articles.
        foot: What stands below them.
    """

    def __init__(self, path: Path, *, head: str, foot: str) -> None:
        super().__init__(path)
        self.head, self.foot = head, foot

    def write(self, answer: str) -> None:
        """Write the next article."""
        self.stream.write(answer if self.num_answers else self.head + answer)

    def finish(self) -> None:
        """Write the foot."""
        self.stream.write(self.foot if self.num_answers else self.head + self.foot)


def file_for_each(output: Path | None, files: Sequence[Path], suffixes: Sequence[str]) -> dict[Path, Path]:
    """Input to output file: the one that was named, or one for each input in the folder that was named.

    Args:
        output: The file or folder; nothing where none is wanted.
        files: The inputs.
        suffixes: That the file may have; those in a folder get the first.

    Raises:
        UsageError: If that is no name of such a file, or no folder.
    """
    if output is None:
        return {}
    if output == SCREEN:
        raise UsageError(f"Expected a file ending in {' or '.join(suffixes)}, or a folder, got '-'. Name one.")
    if len(files) > 1 and output.suffix.lower() in suffixes and not output.is_dir():
        raise UsageError(
            f"Expected a folder for the outputs of {len(files)} files, got {str(output)!r}. Name a folder."
        )
    if len(files) == 1 and output.suffix and not output.is_dir():
        if output.suffix.lower() not in suffixes:
            raise UsageError(f"Expected an output ending in {' or '.join(suffixes)}, got {str(output)!r}. Name it so.")
        return {files[0]: output}
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"Expected a folder for the outputs of {len(files)} files: {error}.") from error
    targets: dict[Path, Path] = {}
    taken: set[Path] = set()
    for file in files:
        target, number = output / _fitting_name(file.stem, suffixes[0]), 2
        while target in taken:
            target, number = output / _fitting_name(file.stem, f"-{number}{suffixes[0]}"), number + 1
        targets[file] = target
        taken.add(target)
    return targets


def check_outputs(inputs: Sequence[Path], outputs: Iterable[Path | None]) -> None:
    """Refuse outputs that would overwrite an input or each other, or that have no place.

    Raises:
        UsageError: Naming the output.
    """
    given = {os.path.realpath(file) for file in inputs}
    seen: set[str] = set()
    for path in filter(None, outputs):
        if path == SCREEN and sys.__stdout__ is None:
            raise UsageError("Standard output is closed, so that nothing can be written there. Name a file.")
        if path != SCREEN and given & {os.path.realpath(path), os.path.realpath(partial_path(path))}:
            raise UsageError(f"The output {str(path)!r} would overwrite an input. Name another file.")
        if os.path.realpath(path) in seen:
            raise UsageError(f"Two outputs would both be written to {str(path)!r}. Name another one.")
        if path != SCREEN and (path.is_dir() or not place_behind(path).parent.is_dir()):
            raise UsageError(f"Expected a file in a folder that exists as output, got {str(path)!r}.")
        seen.add(os.path.realpath(path))


def answer_names(files: Sequence[Path]) -> list[str]:
    """What answers call the files: their names, or their paths where several have the same name."""
    counts = Counter(file.name for file in files)
    return [printable(file.name if counts[file.name] == 1 else str(file)) for file in files]


def printable(text: str) -> str:
    """Spell out control characters, which could steer a terminal, and bytes of file names that are no text."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )


def text_columns(rows: Iterable[Sequence[str]]) -> str:
    """Lay rows of cells out below each other, each column as wide as its widest cell."""
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
