"""Boxes and arrows on a grid, as SVG that reads on light and on dark pages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

PITCH_X, PITCH_Y = 190, 84
BOX_WIDTH, BOX_HEIGHT = 158, 58
MARGIN, LEGEND_HEIGHT = 16, 34
LINE_HEIGHT = 15
KINDS: Mapping[str, tuple[str, str, str, str]] = {
    # Fill, stroke, dashes and the word of the legend.
    "data": ("#f1f5f9", "#64748b", "", "what goes in and between"),
    "learnt": ("#ccfbf1", "#0f766e", "", "learns"),
    "frozen": ("#e0e7ff", "#4338ca", "5 3", "frozen"),
    "rule": ("#fef9c3", "#a16207", "", "a rule without weights"),
    "answer": ("#ffedd5", "#c2410c", "", "answer"),
    "loss": ("#ffffff", "#9f1239", "5 3", "loss, in training"),
}


@dataclass(frozen=True)
class Box:
    """A step of a diagram.

    Args:
        column: Place from the left, in boxes; may be a fraction.
        row: Place from the top, in boxes.
        text: What it is, up to three lines.
        kind: One of `KINDS`.
    """

    column: float
    row: float
    text: str
    kind: str = "learnt"

    @property
    def left(self) -> float:
        """Left edge in pixels."""
        return MARGIN + self.column * PITCH_X

    @property
    def top(self) -> float:
        """Upper edge in pixels."""
        return MARGIN + self.row * PITCH_Y

    @property
    def right(self) -> float:
        """Right edge in pixels."""
        return self.left + BOX_WIDTH

    @property
    def bottom(self) -> float:
        """Lower edge in pixels."""
        return self.top + BOX_HEIGHT


def draw(title: str, boxes: Mapping[str, Box], arrows: Sequence[str]) -> str:
    """Draw a diagram as SVG.

    Args:
        title: Says to a screen reader what the picture shows.
        boxes: Name to box.
        arrows: Such as "frames > trunk", or "guide ~ loss" for a dashed one: to the right, straight down, or to the
            left from below.
    """
    kinds = [kind for kind in KINDS if any(box.kind == kind for box in boxes.values())]
    width = max(box.right for box in boxes.values()) + MARGIN
    height = max(box.bottom for box in boxes.values()) + MARGIN + LEGEND_HEIGHT
    width = max(width, MARGIN + sum(map(_legend_width, kinds)))
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
        f'height="{height:g}" role="img" font-family="system-ui, -apple-system, Segoe UI, sans-serif" font-size="13">',
        f"<title>{escape(title)}</title>",
        '<defs><marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" '
        'orient="auto-start-reverse"><path d="M0 0L10 5L0 10z" fill="#475569"/></marker></defs>',
        f'<rect width="{width:g}" height="{height:g}" rx="10" fill="#ffffff"/>',
        *(_arrow(arrow, boxes) for arrow in arrows),
        *(_box(box) for box in boxes.values()),
        *_legend(kinds, height),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _box(box: Box) -> str:
    fill, stroke, dashes, _ = KINDS[box.kind]
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    words = box.text.split("\n")
    middle, first = box.left + BOX_WIDTH / 2, box.top + BOX_HEIGHT / 2 + 4.5 - LINE_HEIGHT * (len(words) - 1) / 2
    spans = "".join(
        f'<tspan x="{middle:g}" y="{first + LINE_HEIGHT * place:g}">{escape(line)}</tspan>'
        for place, line in enumerate(words)
    )
    return (
        f'<rect x="{box.left:g}" y="{box.top:g}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="8" fill="{fill}" '
        f'stroke="{stroke}" stroke-width="1.5"{dashed}/><text text-anchor="middle" fill="#0f172a">{spans}</text>'
    )


def _arrow(arrow: str, boxes: Mapping[str, Box]) -> str:
    source, mark, target = arrow.split()
    start, end = boxes[source], boxes[target]
    x_start, x_end = (start.left + start.right) / 2, (end.left + end.right) / 2
    y_start, y_end = (start.top + start.bottom) / 2, (end.top + end.bottom) / 2
    gap = PITCH_X - BOX_WIDTH
    if end.left >= start.right and y_start == y_end:
        path = f"M{start.right:g} {y_start:g}H{end.left - 1:g}"
    elif end.left >= start.right:
        path = f"M{start.right:g} {y_start:g}H{end.left - gap / 2:g}V{y_end:g}H{end.left - 1:g}"
    elif x_start == x_end:
        path = f"M{x_start:g} {start.bottom:g}V{end.top - 1:g}"
    elif y_end > y_start:
        path = f"M{x_start:g} {start.bottom:g}V{y_end:g}H{end.right + 1:g}"
    else:
        path = f"M{start.left:g} {y_start:g}H{start.left - gap / 2:g}V{y_end:g}H{end.right + 1:g}"
    dashed = ' stroke-dasharray="4 4"' if mark == "~" else ""
    return f'<path d="{path}" fill="none" stroke="#475569" stroke-width="1.5" marker-end="url(#tip)"{dashed}/>'


def _legend_width(kind: str) -> float:
    return 44 + 6.8 * len(KINDS[kind][3])


def _legend(kinds: Sequence[str], height: float) -> list[str]:
    lines, x, y = [], float(MARGIN), height - MARGIN - 4
    for kind in kinds:
        fill, stroke, dashes, word = KINDS[kind]
        dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
        lines.append(
            f'<rect x="{x:g}" y="{y - 10:g}" width="18" height="12" rx="3" fill="{fill}" stroke="{stroke}"{dashed}/>'
            f'<text x="{x + 24:g}" y="{y:g}" font-size="12" fill="#334155">{word}</text>'
        )
        x += _legend_width(kind)
    return lines
