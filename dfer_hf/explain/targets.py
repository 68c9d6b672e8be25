"""What is explained: an answer, a class, a group, or why one and not another."""

from dataclasses import dataclass

import torch

from ..models.modeling_dfer import DferPreTrainedModel


class UnknownTargetError(ValueError):
    """A name stands for no class and no group of the model."""


class EmptyContrastError(ValueError):
    """Nothing is left to compare with."""


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

    def resolve(self, model: DferPreTrainedModel, logits: torch.Tensor) -> "Contrast":
        """Find the classes that the names stand for.

        Args:
            model: Whose classes and groups they are.
            logits: Of the whole clips, `(batch, num_labels)`; they say what each clip's answer is.

        Raises:
            UnknownTargetError: If a name stands for no class and no group.
            EmptyContrastError: If both names share a class, the first has all classes, or there is only the second.
        """
        if self.name is None:
            if self.instead_of is not None:
                raise EmptyContrastError(
                    f"Expected a class or group to compare with {self.instead_of!r}, got none. Name both."
                )
            answers = model.decide(logits.detach())
            towards = torch.nn.functional.one_hot(answers, logits.shape[-1]).bool()
            return Contrast(towards, ~towards)
        towards = self._members(self.name, model, logits)
        against = ~towards if self.instead_of is None else self._members(self.instead_of, model, logits)
        if not against.any() or (towards & against).any():
            raise EmptyContrastError(
                f"Expected {self.name!r} and {self.instead_of or 'all other classes'!r} to share no class and to have "
                "at least one each. Name others."
            )
        return Contrast(towards, against)

    @staticmethod
    def _members(name: str, model: DferPreTrainedModel, logits: torch.Tensor) -> torch.Tensor:
        """Which classes a name stands for, `(batch, num_labels)`."""
        labels, groups = model.config.label_names, model.config.groups
        if name not in labels and name not in groups:
            raise UnknownTargetError(
                f"Expected a class ({', '.join(labels)}) or a group ({', '.join(groups)}), got {name!r}."
            )
        # A class goes before a group of the same name.
        members = [name] if name in labels else groups[name]
        row = torch.tensor([label in members for label in labels], device=logits.device)
        return row.expand(len(logits), -1)


@dataclass(frozen=True, eq=False)
class Contrast:
    """Two sets of classes for each clip of a batch, and how far its logits favour the first.

    Args:
        towards: Which classes are explained, `(batch, num_labels)`.
        against: Which they are compared with, `(batch, num_labels)`.
    """

    towards: torch.Tensor
    against: torch.Tensor

    def log_odds(self, logits: torch.Tensor) -> torch.Tensor:
        """Logarithm of the odds of the first set against the second, `(batch, ...)`; above 0 the first is favoured.

        It changes with every frame even where a probability is next to 1, and does not change with what is added to
        all logits alike.

        Args:
            logits: `(batch, ..., num_labels)`.
        """
        logits = logits.float()
        between = (1,) * (logits.ndim - 2)
        sums = [
            logits.masked_fill(~part.view(len(part), *between, -1), -torch.inf).logsumexp(dim=-1)
            for part in (self.towards, self.against)
        ]
        return sums[0] - sums[1]

    def probability(self, logits: torch.Tensor) -> torch.Tensor:
        """Probability of the first set, given that it is one of both, `(batch, ...)`."""
        return self.log_odds(logits).sigmoid()


ANSWER = Target()
"""Each clip's own answer."""
