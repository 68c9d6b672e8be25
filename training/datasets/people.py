"""Who is kept to test with, in datasets that have no split of their own."""

import hashlib


def is_test_person(person: str, parts: int) -> bool:
    """Whether a person's pictures are kept to test with: one person in `parts`, chosen by a hash of the name."""
    return int(hashlib.sha1(person.encode(), usedforsecurity=False).hexdigest(), 16) % parts == 0
