"""What a caller asks to be explained, and by which method."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .targets import ANSWER, Classes, Target

MASKS = "masks"
"""The method that every engine offers: it needs neither gradients nor attention, and takes minutes."""


class UnknownMethodError(ValueError):
    """A name stands for no method that is offered for the model."""


@dataclass(frozen=True)
class ExplainOptions:
    """What to explain, and by which method.

    Args:
        method: One of those that the engine offers.
        target: What is explained; each clip's answer where it is left out.
    """

    method: str
    target: Target = ANSWER

    @classmethod
    def of(
        cls, explain: "bool | str | ExplainOptions", target: Target | str | None = None, *, default: str
    ) -> "ExplainOptions | None":
        """Read what a caller may say: whether to explain, a method or options, and a class, a group or a target.

        Naming a target asks for an explanation too.

        Args:
            explain: Whether to explain, or how.
            target: What is explained.
            default: Method where none is named.
        """
        if isinstance(explain, ExplainOptions):
            return explain if target is None else cls.of(explain.method, target, default=default)
        if not explain and target is None:
            return None
        target = target if isinstance(target, Target) else Target(target)
        return cls(explain if isinstance(explain, str) else default, target)

    def check(self, methods: Sequence[str], classes: Classes, *, offered_by: str) -> None:
        """Refuse what is not offered, before there is anything to explain.

        Args:
            methods: What is offered.
            classes: Whose classes and groups the target names.
            offered_by: Who offers the methods, as part of a sentence.

        Raises:
            UnknownMethodError: If there is no such method, or it is not offered.
            UnknownTargetError: If the target names no class and no group.
            EmptyContrastError: If the target compares with nothing.
        """
        if self.method not in methods:
            raise UnknownMethodError(
                f"Expected a method that {offered_by} offers, one of {', '.join(methods)}, got {self.method!r}."
            )
        self.target.resolve(classes, np.zeros(1, dtype=int))
