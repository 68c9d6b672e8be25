"""Colours and patterns of the groups, which stay apart for colour-blind eyes and without any colour."""

from collections.abc import Iterable
from dataclasses import dataclass

from ..taxonomy import Sentiment

Colour = tuple[int, int, int]

PATTERNS = ("plain", "dotted", "lined", "dashed", "barred")
"""How a group's band is filled, so that bands are told apart without colour."""


@dataclass(frozen=True)
class GroupLook:
    """How a group is drawn.

    Args:
        colour: RGB on a video and on dark paper.
        on_light: RGB on light paper.
        pattern: One of `PATTERNS`.
    """

    colour: Colour
    on_light: Colour
    pattern: str

    @property
    def css(self) -> str:
        """The colour in CSS, by the paper's."""
        return f"light-dark(rgb{self.on_light}, rgb{self.colour})"


# Okabe and Ito 2008, the light ones, which are visible on video and on black; on white their darker shades.
_OF_SENTIMENT: dict[str, GroupLook] = {
    Sentiment.POSITIVE.value: GroupLook((230, 159, 0), (146, 92, 0), "plain"),
    Sentiment.NEUTRAL.value: GroupLook((160, 160, 160), (108, 108, 108), "dotted"),
    Sentiment.NEGATIVE.value: GroupLook((86, 180, 233), (0, 105, 160), "lined"),
}
_OF_OTHERS: tuple[tuple[Colour, Colour], ...] = (
    ((0, 158, 115), (0, 115, 84)),
    ((204, 121, 167), (160, 64, 116)),
    ((240, 228, 66), (120, 108, 0)),
    ((230, 110, 30), (184, 76, 0)),
    ((70, 150, 220), (0, 96, 155)),
)

OF_NO_GROUP = _OF_SENTIMENT[Sentiment.NEUTRAL.value]
"""How is drawn what belongs to no group."""


def group_looks(groups: Iterable[str]) -> dict[str, GroupLook]:
    """Give every coarse group its look.

    Args:
        groups: Names of all groups that are drawn together. Positive, neutral and negative have fixed looks; others
            take colours and patterns that are left, in order. After five of them colours repeat, and patterns where
            there are more than five groups.
    """
    groups = list(groups)
    taken = [_OF_SENTIMENT[group].pattern for group in groups if group in _OF_SENTIMENT]
    left = [pattern for pattern in PATTERNS if pattern not in taken] or PATTERNS
    others = [group for group in groups if group not in _OF_SENTIMENT]
    looks = dict(_OF_SENTIMENT)
    for number, group in enumerate(others):
        looks[group] = GroupLook(*_OF_OTHERS[number % len(_OF_OTHERS)], left[number % len(left)])
    return {group: looks[group] for group in groups}


def group_colours(groups: Iterable[str]) -> dict[str, Colour]:
    """Give every coarse group its RGB colour on a video, as of `group_looks`."""
    return {group: look.colour for group, look in group_looks(groups).items()}


def contrast(first: Colour, second: Colour) -> float:
    """How far the lightness of two RGB colours is apart, from 1 to 21 (WCAG 2.2)."""
    lighter, darker = sorted((_luminance(first), _luminance(second)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: Colour) -> float:
    linear = [
        value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
        for value in (channel / 255 for channel in colour)
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
