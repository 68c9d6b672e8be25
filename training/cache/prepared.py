"""Read the cache that prepare writes: any frames of any clip are mapped into memory, and nothing is decoded."""

import io
import json
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

import dfer_hf
from dfer_hf.faces.alignment import CROP_SIZE
from training.cache.shards import SHARD_BYTES, CacheError, CacheWriter, ClipDetails, key_of, read_index
from training.disk import plain_hash, write_whole

FORMAT_VERSION = 1
RECORD_NAME = "preparation.json"
CROP_SIZE_FIELD = "training_crop_size"
"""Field of a checkpoint's processor with the side of the crops that it was trained on, where it is not 112."""


class UnknownFormatError(CacheError):
    """The cache has a format version that this package does not read."""


class CutShortError(CacheError):
    """A shard is missing or shorter than the index says."""


class PreparationMismatchError(CacheError):
    """The cache was prepared differently from what is asked of it."""


@dataclass(frozen=True)
class Preparation:
    """How a cache was prepared.

    Args:
        corpus: Name of the corpus.
        detector: What found the faces, such as `mtcnn`; `corpus` where the corpus ships crops.
        alignment: How they were cut out: `arcface_112`, or `corpus` for crops as shipped, resized plainly.
        low_light: Whether dark faces were brightened.
        settings: Everything else that decides what the crops look like, as plain values.
        crop_size: Side of the crops in pixels.
        dfer_hf_version: Of the package that wrote it.
        format_version: Of the cache.
    """

    corpus: str
    detector: str
    alignment: str
    low_light: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)
    crop_size: int = CROP_SIZE
    dfer_hf_version: str = dfer_hf.__version__
    format_version: int = FORMAT_VERSION

    @classmethod
    def read(cls, root: Path) -> "Preparation":
        """Read the record of a cache.

        Raises:
            UnknownFormatError: If its format version is not the one read here.
            CacheError: If there is no record, or it is damaged.
        """
        path = root / RECORD_NAME
        if not path.is_file():
            raise CacheError(
                f"Expected a cache with {RECORD_NAME} at {root}, found none. "
                "Pass the folder that was given to prepare as --output."
            )
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except json.JSONDecodeError as error:
            raise CacheError(f"Expected JSON in {path}, got {error}. Prepare the corpus again.") from error
        version = values.get("format_version") if isinstance(values, dict) else None
        if version != FORMAT_VERSION:
            raise UnknownFormatError(
                f"Expected format version {FORMAT_VERSION} in {path}, got {version!r}. Prepare the corpus again "
                "with this version of the package, or use the version that wrote the cache."
            )
        names = {entry.name for entry in fields(cls)}
        if set(values) != names:
            raise CacheError(
                f"Expected the entries {', '.join(sorted(names))} in {path}, got {', '.join(sorted(values))}. "
                "Prepare the corpus again."
            )
        if not isinstance(values["crop_size"], int) or values["crop_size"] < 1:
            raise CacheError(
                f"Expected `crop_size` of 1 pixel or more in {path}, got {values['crop_size']!r}. Prepare again."
            )
        return cls(**values)

    def settle(self, root: Path) -> None:
        """Write the record into a new cache, or make sure that the one there was prepared alike.

        Raises:
            PreparationMismatchError: If it was not.
            CacheError: If the folder holds something else.
        """
        root.mkdir(parents=True, exist_ok=True)
        if (root / RECORD_NAME).is_file():
            asked, there = differing(self.described(), Preparation.read(root).described())
            if asked:
                raise PreparationMismatchError(
                    f"Expected to go on with the cache at {root}, prepared with {there}, but got {asked}. "
                    "Ask for the same, or give another --output."
                )
            return
        part = root / f"{RECORD_NAME}.part"
        if any(path != part for path in root.iterdir()):
            raise CacheError(
                f"Expected an empty folder or a cache at {root}, found other files. Give another --output."
            )
        write_whole(root / RECORD_NAME, json.dumps(asdict(self), indent=2) + "\n")

    def described(self) -> dict[str, Any]:
        """Everything that decides how the crops look, as plain values; the version of the package is left out."""
        values = json.loads(json.dumps(asdict(self)))
        del values["dfer_hf_version"]
        return values


class PreparedClips:
    """The clips of a cache; it can be handed to the workers of a loader, forked or spawned.

    Args:
        root: Folder of the cache.

    Attributes:
        record: How it was prepared.
        names: Names of the clips it holds.
        errors: Why each other clip is missing, by its name.

    Raises:
        CutShortError: If a shard is missing or shorter than the index says.
        CacheError: If this is no cache; `UnknownFormatError` if of another format.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self.record = Preparation.read(self.root)
        rows = read_index(self.root)
        self._rows = {row.name: row for row in rows if not row.error}
        self.names = list(self._rows)
        self.errors = {row.name: row.error for row in rows if row.error}
        self._shards: dict[str, np.ndarray] = {}
        ends: dict[str, int] = {}
        for row in self._rows.values():
            ends[row.shard] = max(ends.get(row.shard, 0), row.end(self.record.crop_size))
        for shard, end in ends.items():
            path = self.root / shard
            size = path.stat().st_size if path.is_file() else 0
            if size < end:
                raise CutShortError(
                    f"Expected at least {end} bytes in {path}, got {size}: the cache was cut short. Copy it "
                    "again, or run prepare with the same output, which prepares again what is missing."
                )

    def __getstate__(self) -> dict[str, Any]:
        # A memory map would be pickled as a copy of all its bytes.
        return self.__dict__ | {"_shards": {}}

    def __contains__(self, name: str) -> bool:
        return name in self._rows

    def __len__(self) -> int:
        return len(self.names)

    def num_frames(self, name: str) -> int:
        """Return how many frames a clip has.

        Raises:
            KeyError: If the cache has no such clip.
        """
        return self._row(name).num_frames

    def num_with_face(self, name: str) -> int:
        """Return in how many frames of a clip its face was detected.

        Raises:
            KeyError: If the cache has no such clip.
        """
        return self._row(name).num_with_face

    def read(self, name: str, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Read some frames of a clip, and no others.

        Args:
            name: Of the clip.
            indices: Of the frames, in any order, repeated or not, shape `(count,)`.

        Returns:
            Crops, uint8 of shape `(count, crop_size, crop_size, 3)`; a copy that may be changed.

        Raises:
            KeyError: If the cache has no such clip.
            IndexError: If the clip has no such frame.
        """
        row = self._row(name)
        indices = np.asarray(indices, dtype=np.int64)
        if indices.size and not 0 <= indices.min() <= indices.max() < row.num_frames:
            raise IndexError(
                f"Expected frames 0 to {row.num_frames - 1} of {name!r}, got {indices.min()} to {indices.max()}."
            )
        side = self.record.crop_size
        crops = self._map(row.shard)[row.offset : row.end(side)].reshape(-1, side, side, 3)
        return np.array(crops[indices])

    def frames_with_face(self, name: str) -> np.ndarray:
        """Return the indices of the frames of a clip in which its face was detected, sorted, `(num_with_face,)`.

        Raises:
            KeyError: If the cache has no such clip.
        """
        row = self._row(name)
        if row.num_with_face == row.num_frames:
            return np.arange(row.num_frames)
        return np.flatnonzero(self._details(name)["has_face"])

    def seconds(self, name: str) -> np.ndarray:
        """Return when each frame of a clip is shown, `(num_frames,)`.

        Raises:
            KeyError: If the cache has no such clip.
        """
        return np.array(self._details(name)["seconds"])

    def _details(self, name: str) -> dict[str, Any]:
        """Read the details of a clip, which the shard holds in the file before its crops.

        In a tar, each file begins with a block that holds its name.
        """
        row = self._row(name)
        shard, block = self._map(row.shard), tarfile.BLOCKSIZE
        member, start = f"{key_of(name)}.json".encode(), row.offset // block * block
        while bytes(shard[start : start + len(member)]) != member:
            start -= block
        size = tarfile.TarInfo.frombuf(bytes(shard[start : start + block]), "utf-8", "strict").size
        return json.loads(bytes(shard[start + block : start + block + size]))

    def _map(self, shard: str) -> np.ndarray:
        if shard not in self._shards:
            self._shards[shard] = np.memmap(self.root / shard, dtype=np.uint8, mode="r")
        return self._shards[shard]

    def check_processor(self, processor: Any) -> None:
        """Make sure that a model's processor expects faces that were detected, aligned and lit as these.

        Raises:
            PreparationMismatchError: If it expects others.
        """
        names = ("detector", "alignment", "low_light")
        ours = {name: getattr(self.record, name) for name in names} | {"crop_size": self.record.crop_size}
        theirs = {name: getattr(processor, name, None) for name in names}
        theirs["crop_size"] = getattr(processor, CROP_SIZE_FIELD, CROP_SIZE)
        had, wanted = differing(ours, theirs)
        if had:
            options = f"`--alignment {theirs['alignment']}`" + (" and `--low-light`" if theirs["low_light"] else "")
            options += f" and `--crop-size {theirs['crop_size']}`" if theirs["crop_size"] != CROP_SIZE else ""
            raise PreparationMismatchError(
                f"Expected faces prepared with {wanted}, as the model's processor says, but the cache at {self.root} "
                f"was prepared with {had}. Prepare the corpus again with {options} and another --output, or train a "
                "model on this cache."
            )

    def check_crops(self, alignment: str, size: int) -> None:
        """Make sure that the crops have the alignment and the side that a recipe asks for.

        Raises:
            PreparationMismatchError: If they have others.
        """
        if (self.record.alignment, self.record.crop_size) != (alignment, size):
            raise PreparationMismatchError(
                f"Expected crops of {size} pixels aligned as {alignment!r}, as the recipe's `crops` ask, but the "
                f"cache at {self.root} holds crops of {self.record.crop_size} aligned as {self.record.alignment!r}. "
                f"Prepare the dataset with `--alignment {alignment} --crop-size {size}`, or train on these with "
                f"`--set crops.alignment={self.record.alignment} --set crops.size={self.record.crop_size}`."
            )

    def check_described(self, preparation: Mapping[str, Any]) -> None:
        """Make sure that a run was trained on crops that were made as these, of whatever dataset.

        Args:
            preparation: Result of `Preparation.described` for the run's cache.

        Raises:
            PreparationMismatchError: If they were made otherwise.
        """
        had, wanted = differing(self.record.described() | {"corpus": ""}, {**preparation, "corpus": ""})
        if had:
            raise PreparationMismatchError(
                f"Expected faces prepared with {wanted}, as those that the checkpoint was trained on, but the cache "
                f"at {self.root} was prepared with {had}. Prepare the corpus again in the same way."
            )

    def digest(self, names: Iterable[str]) -> str:
        """Hash what the index says of clips: how many frames each has, how many show the face, or why it failed."""
        lines = []
        for name in sorted(set(names)):
            row = self._rows.get(name)
            lines.append([name, self.errors.get(name)] if row is None else [name, row.num_frames, row.num_with_face])
        return plain_hash(lines)

    def _row(self, name: str):
        if name in self._rows:
            return self._rows[name]
        reason = (
            f"it could not be prepared: {self.errors[name]} Mend it, and run prepare with --retry."
            if name in self.errors
            else "run prepare with the same output, which adds what is missing."
        )
        raise KeyError(f"Expected a clip of the cache at {self.root}, got {name!r}; {reason}")


def differing(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> tuple[str, str]:
    """Return what two descriptions say of the fields in which they differ; both are empty where they are equal."""
    names = differing_fields(ours, theirs)
    said = [", ".join(f"{name} {kind.get(name)!r}" for name in names) for kind in (ours, theirs)]
    return said[0], said[1]


def differing_fields(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """Return the names of the fields in which two descriptions differ."""
    return [name for name in {**ours, **theirs} if ours.get(name) != theirs.get(name)]


def write_prepared(
    root: Path,
    clips: Mapping[str, np.ndarray],
    record: Preparation,
    *,
    errors: Mapping[str, str] | None = None,
    shard_bytes: int = SHARD_BYTES,
) -> PreparedClips:
    """Write crops that are in memory into a new cache, or add them to one.

    Args:
        root: Folder of the cache.
        clips: Crops by name of the clip, each uint8 of shape `(num_frames, crop_size, crop_size, 3)`.
        record: How they were made.
        errors: Reasons by the name of clips that could not be made.
        shard_bytes: Size above which no clip is added to a shard that has one.

    Raises:
        CacheError: If an array has another shape, the cache has the clip, or it was prepared differently.
    """
    record.settle(root)
    with CacheWriter(root, shard_bytes=shard_bytes, crop_size=record.crop_size) as writer:
        for name, crops in clips.items():
            content = io.BytesIO()
            np.save(content, np.ascontiguousarray(crops), allow_pickle=False)
            content.seek(0)
            frames = range(len(crops))
            seconds = tuple(index / 25 for index in frames)
            writer.add(content, ClipDetails(name, tuple(frames), (True,) * len(crops), seconds))
        for name, reason in (errors or {}).items():
            writer.add_failure(name, reason)
    return PreparedClips(root)
