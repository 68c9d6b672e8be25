"""What is explained: an answer, a class, a group, or why one and not another."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np


class UnknownTargetError(ValueError):
    """A name stands for no class and no group of the model."""


class EmptyContrastError(ValueError):
    """Nothing is left to compare with."""


class Classes(Protocol):
    """What has classes: a model's configuration, or the rules of an engine."""

    @property
    def label_names(self) -> Sequence[str]:
        """Fine classes in the order of their index."""
        ...

    @property
    def groups(self) -> Mapping[str, Sequence[str]]:
        """Coarse class to its fine classes."""
        ...


@dataclass(frozen=True)
class Target:
    """What to explain, by names.

    Args:
        name: A class or a group; each clip's own answer where it is left out.
        instead_of: The class or group that it is compared with, as in "why fear and not surprise"; all other classes
            where it is left out.
    """

    name: str | None = None
    instead_of: str | None = None

    def __str__(self) -> str:
        """Say what is explained, as part of a sentence."""
        name = self.name or "the answer"
        return f"{name} and not {self.instead_of}" if self.instead_of else name

    def resolve(self, classes: Classes, answers: np.ndarray) -> "Contrast":
        """Find the classes that the names stand for.

        Args:
            classes: Classes and groups by name.
            answers: Index of the class that answers each whole clip, `(batch,)`.

        Raises:
            UnknownTargetError: If a name stands for no class and no group.
            EmptyContrastError: If both names share a class, the first has all classes, or there is only the second.
        """
        if self.name is None:
            if self.instead_of is not None:
                raise EmptyContrastError(
                    f"Expected a class or group to compare with {self.instead_of!r}, got none. Name both."
                )
            towards = np.eye(len(classes.label_names), dtype=bool)[answers]
            return Contrast(towards, ~towards)
        row = self._members(self.name, classes)
        others = ~row if self.instead_of is None else self._members(self.instead_of, classes)
        if not others.any() or (row & others).any():
            raise EmptyContrastError(
                f"Expected {self.name!r} and {self.instead_of or 'all other classes'!r} to share no class and to have "
                "at least one each. Name others."
            )
        return Contrast(np.tile(row, (len(answers), 1)), np.tile(others, (len(answers), 1)))

    @staticmethod
    def _members(name: str, classes: Classes) -> np.ndarray:
        """Which classes a name stands for, `(num_labels,)`."""
        labels, groups = classes.label_names, classes.groups
        if name not in labels and name not in groups:
            raise UnknownTargetError(
                f"Expected a class ({', '.join(labels)}) or a group ({', '.join(groups)}), got {name!r}."
            )
        # A class goes before a group of the same name.
        members = [name] if name in labels else groups[name]
        return np.array([label in members for label in labels])


@dataclass(frozen=True, eq=False)
class Contrast:
    """Two sets of classes for each clip of a batch, and how far its logits favour the first.

    Args:
        towards: Which classes are explained, `(batch, num_labels)` of booleans.
        against: Which they are compared with, likewise.
    """

    towards: np.ndarray
    against: np.ndarray

    def log_odds(self, logits: np.ndarray) -> np.ndarray:
        """Logarithm of the odds of the first set against the second, `(batch, ...)`; above 0 the first is favoured.

        It changes with every frame even where a probability is next to 1, and does not change with what is added to
        all logits alike.

        Args:
            logits: `(batch, ..., num_labels)`; logarithms of probabilities do as well.
        """
        between = (1,) * (logits.ndim - 2)
        towards, against = (
            np.logaddexp.reduce(np.where(part.reshape(len(part), *between, -1), logits, -np.inf), axis=-1)
            for part in (self.towards, self.against)
        )
        return towards - against

    def probability(self, logits: np.ndarray) -> np.ndarray:
        """Probability of the first set, given that it is one of both, `(batch, ...)`."""
        return np.exp(-np.logaddexp(0, -self.log_odds(logits)))


ANSWER = Target()
"""Each clip's own answer."""
