"""The names of expressions and of their groups; nothing else in the package spells them."""

from collections.abc import Mapping, Sequence
from enum import Enum


class Emotion(str, Enum):
    """A fine class, named as the field names it."""

    HAPPINESS = "happiness"
    SADNESS = "sadness"
    NEUTRAL = "neutral"
    ANGER = "anger"
    SURPRISE = "surprise"
    DISGUST = "disgust"
    FEAR = "fear"
    CONTEMPT = "contempt"
    ANXIETY = "anxiety"
    HELPLESSNESS = "helplessness"
    DISAPPOINTMENT = "disappointment"
    OTHER = "other"

    def __str__(self) -> str:
        return self.value


class Sentiment(str, Enum):
    """A coarse class."""

    POSITIVE = "positive"
    NEUTRAL = "neutral"
    NEGATIVE = "negative"

    def __str__(self) -> str:
        return self.value


SEVEN_EMOTIONS: tuple[Emotion, ...] = (
    Emotion.HAPPINESS,
    Emotion.SADNESS,
    Emotion.NEUTRAL,
    Emotion.ANGER,
    Emotion.SURPRISE,
    Emotion.DISGUST,
    Emotion.FEAR,
)
"""The seven classes in the order of DFEW, which the five papers share."""

SENTIMENT_GROUPS: dict[Sentiment, tuple[Emotion, ...]] = {
    Sentiment.POSITIVE: (Emotion.HAPPINESS, Emotion.SURPRISE),
    Sentiment.NEUTRAL: (Emotion.NEUTRAL,),
    Sentiment.NEGATIVE: (Emotion.SADNESS, Emotion.ANGER, Emotion.DISGUST, Emotion.FEAR),
}
"""AEN's third and best grouping (Table 2): surprise stands with happiness."""


def coarsen(probabilities: Mapping[str, float], groups: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """Sum fine probabilities into their groups.

    Args:
        probabilities: Fine class to probability.
        groups: Group to its fine classes; every fine class stands in exactly one.

    Returns:
        Group to probability, in the order of `groups`.

    Raises:
        ValueError: If a fine class stands in no group, or in several.

    >>> coarsen({"happiness": 0.5, "fear": 0.25, "anger": 0.25}, {"good": ["happiness"], "bad": ["fear", "anger"]})
    {'good': 0.5, 'bad': 0.5}
    """
    members = [str(label) for group in groups.values() for label in group]
    misplaced = sorted(label for label in map(str, probabilities) if members.count(label) != 1)
    if misplaced:
        raise ValueError(
            f"Expected every class in exactly one group, but {', '.join(misplaced)} "
            f"is in none or in several of {', '.join(map(str, groups))}. Mend the groups of the configuration."
        )
    values = {str(label): probability for label, probability in probabilities.items()}
    return {str(group): sum(values.get(str(label), 0.0) for label in labels) for group, labels in groups.items()}
