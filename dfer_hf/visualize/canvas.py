"""Values over time as SVG that is stretched to the width of the page."""

from collections.abc import Mapping, Sequence
from itertools import groupby

import numpy as np

from .colours import GroupLook

WIDTH, HEIGHT = 1000.0, 100.0
# However short the time that a face was seen, so wide is its band drawn.
_NARROWEST = 6.0
_PATTERN_STEP, _BARRED_STEP = 12.0, 24.0
AREA_OPACITY = 0.85
_INK = "currentColor"


class Canvas:
    """Draws curves and bands, broken where there is nothing to draw.

    Args:
        starts_seconds: When each moment starts, shape `(num_moments,)`.
        ends_seconds: When each moment ends, shape `(num_moments,)`.
        end_seconds: Where the axis ends.
        seen: Whether there is something to draw, one truth value for each moment.
    """

    def __init__(
        self, starts_seconds: np.ndarray, ends_seconds: np.ndarray, end_seconds: float, seen: np.ndarray
    ) -> None:
        self.lefts = WIDTH * starts_seconds / end_seconds
        self.rights = WIDTH * ends_seconds / end_seconds
        self.runs = runs_of(seen)
        self.background = "".join(self._gap(run) for run in runs_of(~seen))

    def area(self, values: np.ndarray, fill: str) -> str:
        """One filled curve of values from 0 to 1."""
        return (
            self.background
            + self._band(np.zeros_like(values), values, fill, opacity=AREA_OPACITY)
            + self._line(values)
        )

    def signed_area(self, values: np.ndarray, fill: str) -> str:
        """A curve filled down or up to the line of zero; the largest and smallest value, and zero, reach the edges."""
        low, high = min(0.0, float(np.nanmin(values))), max(0.0, float(np.nanmax(values)))
        span = (high - low) or 1.0
        zero = np.full_like(values, -low / span)
        drawn = self._band(zero, (values - low) / span, fill, opacity=AREA_OPACITY)
        return self.background + drawn + self._line((values - low) / span) + self._line(zero, css="zero")

    def stack(self, bands: Mapping[str, np.ndarray], looks: Mapping[str, GroupLook]) -> str:
        """Bands on top of each other, with a line between and each with its pattern."""
        drawn, below = self.background, np.zeros_like(self.lefts)
        for name, values in bands.items():
            above = below + values
            drawn += self._band(below, above, looks[name].css, opacity=1.0)
            if looks[name].pattern != "plain":
                drawn += self._pattern(below, above, css=looks[name].pattern)
            drawn += self._line(above, css="between")
            below = above
        return drawn

    def _gap(self, run: np.ndarray) -> str:
        left, right = self.lefts[run[0]], self.rights[run[-1]]
        box = f'<rect x="{left:.1f}" y="0" width="{right - left:.1f}" height="100" fill="{_INK}" fill-opacity=".13"/>'
        return f'{box}<path class="gap" d="M{left:.1f} 50H{right:.1f}"/>'

    def _places(self, run: np.ndarray) -> np.ndarray:
        """Where the corners of a run lie: its start, the middle of each moment, and its end."""
        left, right = self.lefts[run[0]], self.rights[run[-1]]
        if right - left < _NARROWEST:
            left = float(np.clip((left + right - _NARROWEST) / 2, 0, WIDTH - _NARROWEST))
            return np.concatenate([[left], np.linspace(left, left + _NARROWEST, len(run)), [left + _NARROWEST]])
        return np.concatenate([[left], (self.lefts[run] + self.rights[run]) / 2, [right]])

    def _edge(self, values: np.ndarray, run: np.ndarray) -> np.ndarray:
        return np.pad(HEIGHT - HEIGHT * values[run], 1, mode="edge")

    def _band(self, low: np.ndarray, high: np.ndarray, fill: str, *, opacity: float) -> str:
        drawn = ""
        for run in self.runs:
            xs = self._places(run)
            top, bottom = _points(xs, self._edge(high, run)), _points(xs[::-1], self._edge(low, run)[::-1])
            drawn += f'<path d="M{top}L{bottom}Z" style="fill:{fill}" fill-opacity="{opacity}"/>'
        return drawn

    def _line(self, values: np.ndarray, *, css: str = "curve") -> str:
        lines = (f"M{_points(self._places(run), self._edge(values, run))}" for run in self.runs)
        return "".join(f'<path class="{css}" d="{line}"/>' for line in lines)

    def _pattern(self, low: np.ndarray, high: np.ndarray, *, css: str) -> str:
        """Upright lines from the lower edge of a band to its upper one: they survive being stretched."""
        drawn = ""
        for run in self.runs:
            xs = self._places(run)
            step = _BARRED_STEP if css == "barred" else _PATTERN_STEP
            at = np.arange(xs[0] + step / 4, xs[-1], step)
            top, bottom = (np.interp(at, xs, self._edge(edge, run)) for edge in (high, low))
            drawn += "".join(f"M{x:.1f} {y:.1f}V{end:.1f}" for x, y, end in zip(at, top, bottom, strict=True))
        return f'<path class="{css}" d="{drawn}"/>'


def _points(xs: np.ndarray, ys: np.ndarray) -> str:
    return "L".join(f"{x:.1f} {y:.1f}" for x, y in zip(xs, ys, strict=True))


def runs_of(mask: np.ndarray | Sequence[bool]) -> list[np.ndarray]:
    """Indices of each stretch in which `mask` holds."""
    runs = groupby(range(len(mask)), key=lambda index: bool(mask[index]))
    return [np.array(list(indices)) for holds, indices in runs if holds]
