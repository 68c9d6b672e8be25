"""What is done with each file of a batch, in whichever process: answer it once and keep its rows."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..file_run import hash_content, sentence
from .batch_predictor import BatchPredictor
from .parts import PartFolder
from .rows import error_rows, path_text

FINAL_ERRORS = frozenset({
    "AudioOnlyError", "CorruptVideoError", "EmptyVideoError", "NoFaceFoundError", "NotAVideoError",
    "UnsupportedCodecError",
})  # fmt: skip
"""Errors that the same bytes raise every time; a file with another one is tried again in the next run."""

DIED = "WorkerDiedError"
_DIED_ADVICE = (
    "The process that worked on this file was ended twice while it did. Look for a lack of memory, use fewer workers, "
    "or convert the file to mp4; the next run tries it again."
)


@dataclass(frozen=True)
class Outcome:
    """What became of a file.

    Args:
        num_rows: Rows that it has.
        error: Why there is no answer; empty where there is one.
        was_there: Whether an earlier run had answered it.
    """

    num_rows: int
    error: str
    was_there: bool = False


@dataclass(frozen=True)
class BatchJob:
    """Answers a file unless that was done before, and writes its part. It is small, and may be sent anywhere.

    Args:
        predictor: What answers.
        folder: Of the parts; every worker sees it at this path.
        model: What predictions call the checkpoint.
        columns: Of the rows, as of `column_types`, as pairs.
    """

    predictor: BatchPredictor
    folder: Path
    model: str
    columns: tuple[tuple[str, str], ...]

    def __call__(self, path: Path) -> Outcome:
        """Answer a file, or find what an earlier run answered.

        Raises:
            CheckpointError: If the checkpoint cannot be loaded.
            OSError: If the part cannot be written.
        """
        parts, content_hash = PartFolder(self.folder), _hash_or_none(path)
        part = parts.part_of(path, content_hash)
        rows = parts.read(part)
        was_there = _is_final(rows)
        if not was_there:
            copied = parts.rows_of_copy(content_hash)
            # An error names its file, and is found again soon.
            if _is_final(copied) and not copied[0]["error"]:
                rows = [row | {"path": path_text(path)} for row in copied]
            else:
                rows = self.predictor.rows_of(path, content_hash=content_hash)
            parts.write(part, rows, dict(self.columns))
        parts.keep_only(part, path)
        return Outcome(len(rows), rows[0]["error"] or "", was_there)

    def attempt(self, path: Path) -> tuple[Outcome | None, str]:
        """Answer a file, or say what fails for every one: no checkpoint can be loaded, or no part be written."""
        try:
            return self(path), ""
        # What a file can raise has become its row.
        except (OSError, ValueError, ImportError, RuntimeError) as error:
            return None, sentence(error)

    def give_up(self, path: Path) -> Outcome:
        """Write an error row for a file that ended its workers.

        Raises:
            OSError: If the part cannot be written.
        """
        parts, content_hash, columns = PartFolder(self.folder), _hash_or_none(path), dict(self.columns)
        part = parts.part_of(path, content_hash)
        rows = error_rows(
            path, columns, model=self.model, content_hash=content_hash, error_name=DIED, error=_DIED_ADVICE
        )
        parts.write(part, rows, columns)
        parts.keep_only(part, path)
        return Outcome(1, _DIED_ADVICE)


def _hash_or_none(path: Path) -> str | None:
    """The hash of a file; none where it cannot be read, which its error row tells."""
    try:
        return hash_content(path)
    except OSError:
        return None


def _is_final(rows: list[dict[str, Any]]) -> bool:
    return bool(rows) and (rows[0]["error"] is None or rows[0]["error_name"] in FINAL_ERRORS)
