"""Colours that stay apart for colour-blind eyes."""

from collections.abc import Iterable

from ..taxonomy import Sentiment

Colour = tuple[int, int, int]

# Okabe and Ito 2008, the light ones: visible on video, on white and on black.
_OF_SENTIMENT: dict[str, Colour] = {
    Sentiment.POSITIVE.value: (230, 159, 0),
    Sentiment.NEUTRAL.value: (160, 160, 160),
    Sentiment.NEGATIVE.value: (86, 180, 233),
}
_OF_OTHERS: tuple[Colour, ...] = ((0, 158, 115), (204, 121, 167), (240, 228, 66), (213, 94, 0), (0, 114, 178))


def group_colours(groups: Iterable[str]) -> dict[str, Colour]:
    """Give every coarse group its RGB colour.

    Args:
        groups: Names of all groups of a checkpoint. Positive, neutral and negative have fixed colours; others take
            theirs in order, and after five the colours repeat.
    """
    colours: dict[str, Colour] = {}
    num_others = 0
    for group in groups:
        if group in _OF_SENTIMENT:
            colours[group] = _OF_SENTIMENT[group]
        else:
            colours[group] = _OF_OTHERS[num_others % len(_OF_OTHERS)]
            num_others += 1
    return colours
