"""Who is kept to test with, in datasets that have no split of their own."""

import hashlib
from collections.abc import Iterable
from typing import Protocol, TypeVar


class OfPerson(Protocol):
    """Something of a person."""

    @property
    def person(self) -> str:
        """Name or number of the person."""
        ...


Entry = TypeVar("Entry", bound=OfPerson)


def is_test_person(person: str, parts: int) -> bool:
    """Whether a person's pictures are kept to test with: one person in `parts`, chosen by a hash of the name."""
    return int(hashlib.sha1(person.encode(), usedforsecurity=False).hexdigest(), 16) % parts == 0


def of_split(entries: Iterable[Entry], split: str, parts: int) -> list[Entry]:
    """Keep what is of the people of one part: `train`, or `test` for one person in `parts`.

    Raises:
        ValueError: If the split is neither.
    """
    if split not in ("train", "test"):
        raise ValueError(f"Expected the split to be train or test, got {split!r}. Choose one of them.")
    return [entry for entry in entries if is_test_person(entry.person, parts) == (split == "test")]
