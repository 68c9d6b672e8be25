"""Write clips of face crops into tar shards with an index, so that a preparation can be killed and resumed anywhere.

A shard is a plain tar as WebDataset reads it. Of each clip it holds `<key>.json` and then `<key>.npy`, uncompressed,
so that a clip's bytes lie together and end where the index says. A row of the index is written after the bytes that
it describes: whatever follows the bytes of the last row is half a clip, and is cut off when the cache is opened again.
"""

import csv
import hashlib
import io
import json
import os
import re
import tarfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np

from dfer_hf.faces.alignment import CROP_SIZE

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

INDEX_NAME = "index.csv"
SHARD_BYTES = 1_000_000_000
_COPY_BYTES = 1 << 22


def frame_bytes(crop_size: int) -> int:
    """Count the bytes of one crop."""
    return crop_size * crop_size * 3


class CacheError(ValueError):
    """A cache of face crops cannot be read or written as asked; the message says what to do."""


@dataclass(frozen=True)
class IndexRow:
    """Where a clip is stored, or why it is not.

    Args:
        name: Of the clip.
        shard: File name; empty where the clip failed.
        offset: First byte of the crops in the shard.
        num_frames: Crops of the clip.
        num_with_face: How many of them show a face that was seen in that very frame.
        error: Why the clip could not be prepared; empty where it could.
    """

    name: str
    shard: str = ""
    offset: int = 0
    num_frames: int = 0
    num_with_face: int = 0
    error: str = ""

    def end(self, crop_size: int) -> int:
        """Return the first byte after the crops, whose side is given."""
        return self.offset + self.num_frames * frame_bytes(crop_size)


@dataclass(frozen=True)
class ClipDetails:
    """Details of a clip that the shard holds beside its crops, as JSON.

    Args:
        name: Of the clip.
        frame_indices: Which frames of the source the crops are of.
        has_face: Whether the face was seen in that frame; where not, the crop is that of the nearest frame.
        seconds: When each frame is shown; 25 frames a second in a folder of frames.
        warnings: What was odd about the source, such as a part that could not be decoded.
    """

    name: str
    frame_indices: tuple[int, ...]
    has_face: tuple[bool, ...]
    seconds: tuple[float, ...]
    warnings: tuple[str, ...] = ()


def read_index(root: Path) -> list[IndexRow]:
    """Read the index of a cache; a last line that is incomplete is left out.

    Raises:
        CacheError: If there is none, or it has other columns.
    """
    path = root / INDEX_NAME
    if not path.is_file():
        raise CacheError(f"Expected {INDEX_NAME} in {root}, found none. Pass a folder written by prepare.")
    whole = path.read_text(encoding="utf-8").rpartition("\n")[0]
    reader = csv.DictReader(io.StringIO(whole))
    columns = [field.name for field in fields(IndexRow)]
    if list(reader.fieldnames or columns) != columns:
        raise CacheError(
            f"Expected the columns {', '.join(columns)} in {path}, got {', '.join(reader.fieldnames or ())}. "
            "Prepare the corpus again."
        )
    try:
        return [
            IndexRow(
                name=row["name"],
                shard=row["shard"],
                offset=int(row["offset"]),
                num_frames=int(row["num_frames"]),
                num_with_face=int(row["num_with_face"]),
                error=row["error"],
            )
            for row in reader
        ]
    except (TypeError, ValueError) as error:
        raise CacheError(
            f"Expected a row of {len(columns)} fields in {path}, got line {reader.line_num} ({error}). "
            "Delete that line, and prepare again with the same output."
        ) from error


class CacheWriter:
    """Appends clips to a cache, also to one that was left half written.

    Args:
        root: Folder of the cache; it must exist.
        shard_bytes: Size above which no clip is added to a shard that has one.
        retry: Whether to forget the clips that failed, so that they can be added again.
        crop_size: Side of the crops in pixels.

    Attributes:
        rows: Rows of the index so far, by name of the clip.
    """

    def __init__(
        self, root: Path, *, shard_bytes: int = SHARD_BYTES, retry: bool = False, crop_size: int = CROP_SIZE
    ) -> None:
        self.root, self.shard_bytes, self.crop_size = root, shard_bytes, crop_size
        self._lock = _lock(root)
        kept = read_index(root) if (root / INDEX_NAME).is_file() else []
        kept = [row for row in kept if (not retry if row.error else self._is_whole(row))]
        self.rows = {row.name: row for row in kept}
        ends = self._cut_shards()
        replacement = root / f"{INDEX_NAME}.part"
        with replacement.open("w", newline="", encoding="utf-8") as file:
            _rows_writer(file).writeheader()
            _rows_writer(file).writerows(asdict(row) for row in kept)
        replacement.replace(root / INDEX_NAME)
        self._index = (root / INDEX_NAME).open("a", newline="", encoding="utf-8")
        last = max(ends, default=_shard_name(0))
        self._number = int(last[-9:-4])
        self._shard = (root / last).open("ab")

    def __enter__(self) -> "CacheWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def add(self, crops: BinaryIO, details: ClipDetails) -> None:
        """Append a clip.

        Args:
            crops: A `.npy` file of uint8 `(num_frames, crop_size, crop_size, 3)` in C order, open for reading at its
                start.
            details: Of the same clip.

        Raises:
            CacheError: If the array has another shape, or the cache has this clip.
        """
        self._refuse_twice(details.name)
        shape, data_start = _npy_layout(crops, details, self.crop_size)
        size = data_start + shape[0] * frame_bytes(self.crop_size)
        text = json.dumps(asdict(details)).encode()
        position = self._shard.tell()
        if position and position + _member_bytes(len(text)) + _member_bytes(size) > self.shard_bytes:
            self._next_shard()
        key = key_of(details.name)
        self._add_member(f"{key}.json", io.BytesIO(text), len(text))
        start = self._add_member(f"{key}.npy", crops, size)
        self._shard.flush()
        self._add_row(
            IndexRow(
                name=details.name,
                shard=_shard_name(self._number),
                offset=start + data_start,
                num_frames=shape[0],
                num_with_face=sum(details.has_face),
            )
        )

    def add_failure(self, name: str, reason: str) -> None:
        """Note that a clip could not be prepared, in one line.

        Raises:
            CacheError: If the cache has this clip.
        """
        self._refuse_twice(name)
        self._add_row(IndexRow(name, error=" ".join(reason.split())))

    def close(self) -> None:
        """Write the end of a tar into the last shard."""
        if not self._shard.closed:
            self._end_shard()
            self._index.close()
            self._lock.close()

    def _refuse_twice(self, name: str) -> None:
        if name in self.rows:
            raise CacheError(f"Expected each clip once, got {name!r} again. Give clips names of their own.")

    def _is_whole(self, row: IndexRow) -> bool:
        shard = self.root / row.shard
        return shard.is_file() and shard.stat().st_size >= _padded(row.end(self.crop_size))

    def _cut_shards(self) -> dict[str, int]:
        """Cut half a clip off the end of each shard, remove empty shards, and return where each ends, by name."""
        ends: dict[str, int] = {}
        for row in self.rows.values():
            if row.shard:
                ends[row.shard] = max(ends.get(row.shard, 0), _padded(row.end(self.crop_size)))
        for shard in self.root.glob("shard-*.tar"):
            if shard.name not in ends:
                shard.unlink()
        for name, end in ends.items():
            is_last = name == max(ends)
            with (self.root / name).open("r+b") as file:
                file.truncate(end)
                file.seek(end)
                file.write(b"" if is_last else _tar_end())
        return ends

    def _next_shard(self) -> None:
        self._end_shard()
        self._number += 1
        self._shard = (self.root / _shard_name(self._number)).open("ab")

    def _end_shard(self) -> None:
        self._shard.write(_tar_end())
        self._shard.flush()
        os.fsync(self._shard.fileno())
        self._shard.close()

    def _add_member(self, name: str, content: BinaryIO, size: int) -> int:
        """Append a file to the shard, and return where its content starts."""
        # Its time is 0, so that the same clips give the same bytes.
        member = tarfile.TarInfo(name)
        member.size = size
        self._shard.write(member.tobuf(tarfile.PAX_FORMAT))
        start = self._shard.tell()
        while block := content.read(_COPY_BYTES):
            self._shard.write(block)
        if self._shard.tell() - start != size:
            raise CacheError(f"Expected {size} bytes of {name}, got {self._shard.tell() - start}.")
        self._shard.write(bytes(_padded(size) - size))
        return start

    def _add_row(self, row: IndexRow) -> None:
        _rows_writer(self._index).writerow(asdict(row))
        self._index.flush()
        self.rows[row.name] = row


def _lock(root: Path) -> BinaryIO:
    """Keep other writers out of a cache until the file is closed, at the latest when this process ends.

    Raises:
        CacheError: If there is one already.
    """
    file = (root / "writer.lock").open("wb")
    if fcntl is not None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CacheError(
                f"Expected to be alone in the cache at {root}, but another run is writing to it. "
                "Wait for it to end, or give another --output."
            ) from error
    return file


def key_of(name: str) -> str:
    """Return a clip's name in its shard: WebDataset cuts names at the first dot and reads slashes as folders."""
    return f"{re.sub('[^A-Za-z0-9]+', '-', name)[-48:].strip('-')}-{hashlib.sha1(name.encode()).hexdigest()[:12]}"


def _npy_layout(crops: BinaryIO, details: ClipDetails, crop_size: int) -> tuple[tuple[int, ...], int]:
    """Return the shape of a `.npy` file of crops and where its data starts; the file is rewound."""
    np.lib.format.read_magic(crops)
    shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(crops)
    data_start = crops.tell()
    crops.seek(0)
    wanted = (len(details.frame_indices), crop_size, crop_size, 3)
    if shape != wanted or shape[0] == 0 or is_fortran or dtype != np.uint8:
        raise CacheError(
            f"Expected the crops of {details.name!r} as uint8 {wanted} in C order with at least one frame, "
            f"got {dtype} {shape}. Resize them to {crop_size}×{crop_size} RGB."
        )
    return shape, data_start


def _rows_writer(file: io.TextIOBase | Iterable) -> csv.DictWriter:
    return csv.DictWriter(file, [field.name for field in fields(IndexRow)], lineterminator="\n")  # pyright: ignore


def _shard_name(number: int) -> str:
    return f"shard-{number:05d}.tar"


def _padded(size: int) -> int:
    return -(-size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE


def _member_bytes(size: int) -> int:
    return tarfile.BLOCKSIZE + _padded(size)


def _tar_end() -> bytes:
    return bytes(2 * tarfile.BLOCKSIZE)
