"""What a page shows of an answer, as plain values that pass from process to process."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ShownFace:
    """What a page shows of one face: the answer, the probabilities beside it, what speaks for it, and its picture."""

    track_id: int
    description: str
    answer: str
    label: str
    fine: dict[str, float]
    group: str
    coarse: dict[str, float]
    timeline_html: str
    strip_html: str
    table: list[list[str]]
    explained: list[str]
    picture: str


@dataclass(frozen=True)
class ShownAnswer:
    """What a page shows of a clip: sentences on the whole, and its faces."""

    summary: list[str]
    faces: list[ShownFace]


@dataclass(frozen=True)
class ShownComparison:
    """What a page shows of a clip that several checkpoints answered: sentences on the whole, and a drawing."""

    summary: list[str]
    html: str
