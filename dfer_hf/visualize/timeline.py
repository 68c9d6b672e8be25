"""A face's answer over the seconds of its clip: as numbers, in words, and as a page fragment."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from ..prediction import FacePrediction, FramePrediction, Scores
from .canvas import Canvas, runs_of
from .colours import OF_NO_GROUP, GroupLook, group_looks
from .text import points

MAX_MOMENTS = 400
"""More frames than this are joined to equal moments."""

_USUAL_FRAME_SECONDS = 0.04

TIMELINE_STYLE = """
.dfer-timeline { container-type: inline-size; font-size: 13px; line-height: 1.3; }
.dfer-timeline .rows { --label: 6.6rem; --value: 2.4rem; position: relative; }
.dfer-timeline .row { display: grid; grid-template-columns: var(--label) minmax(0, 1fr) var(--value);
  align-items: center; column-gap: 8px; margin-bottom: 3px; }
.dfer-timeline .name { text-align: right; overflow-wrap: anywhere; }
.dfer-timeline .value { font-variant-numeric: tabular-nums; white-space: nowrap; }
.dfer-timeline .leads { font-weight: 600; }
.dfer-timeline svg { display: block; width: 100%; height: 26px; background: rgba(128, 128, 128, .08);
  border-radius: 3px; }
.dfer-timeline .tall svg { height: 46px; }
.dfer-timeline .apart { margin-top: 12px; }
.dfer-timeline { --band-paper: light-dark(#fff, #161616); }
.dfer-timeline path { vector-effect: non-scaling-stroke; }
.dfer-timeline :is(.curve, .zero, .gap) { fill: none; stroke: currentColor; stroke-width: 1.2; }
.dfer-timeline .gap { stroke-dasharray: 2 5; }
.dfer-timeline .between { fill: none; stroke: var(--band-paper); stroke-width: 2; }
.dfer-timeline path:is(.dotted, .lined, .dashed, .barred) { fill: none; stroke: var(--band-paper); stroke-width: 1.5; }
.dfer-timeline path.dotted { stroke-dasharray: 1.5 4; }
.dfer-timeline path.dashed { stroke-dasharray: 7 4; }
.dfer-timeline path.barred { stroke-width: 3; }
.dfer-timeline .axis { grid-column: 2; position: relative; height: 18px; }
.dfer-timeline .axis span { position: absolute; transform: translateX(-50%); white-space: nowrap; }
.dfer-timeline .axis span:first-child { transform: none; }
.dfer-timeline .legend { display: flex; flex-wrap: wrap; gap: 2px 16px; margin-bottom: 8px; }
.dfer-timeline .chip { display: inline-block; width: 1.1em; height: 1em; border-radius: 2px;
  margin-right: 5px;
  vertical-align: -1px; }
.dfer-timeline .chip.lined { background-image: linear-gradient(90deg, var(--band-paper) 1.5px, transparent 0);
  background-size: 4px 100%; }
.dfer-timeline .chip.dotted { background-image: radial-gradient(circle, var(--band-paper) 1.2px, transparent 1.4px);
  background-size: 4px 4px; }
.dfer-timeline .chip.dashed { background-size: 4px 6px;
  background-image: conic-gradient(at 1.5px 4px, transparent 75%, var(--band-paper) 0); }
.dfer-timeline .chip.barred { background-image: linear-gradient(90deg, var(--band-paper) 3px, transparent 0);
  background-size: 7px 100%; }
.dfer-timeline .chip.unseen { background: repeating-linear-gradient(90deg, currentColor 0 2px, transparent 2px 4px)
  center / 100% 2px no-repeat, rgba(128, 128, 128, .35); }
.dfer-timeline .moments { position: absolute; inset: 0 calc(var(--value) + 8px) 21px calc(var(--label) + 8px); }
.dfer-timeline .moments i { position: absolute; top: 0; bottom: 0; }
.dfer-timeline .moments i:hover { background: rgba(128, 128, 128, .3); }
.dfer-timeline .moments[role=slider] { cursor: pointer; touch-action: pan-y; border-radius: 3px; }
.dfer-timeline .moments:focus-visible { outline: 2px solid currentColor; outline-offset: 2px; }
.dfer-timeline .playhead { position: absolute; top: -4px; bottom: -4px; width: 4px; margin-left: -2px; left: 0;
  background: light-dark(#c00000, #ff8080); border: 1px solid var(--band-paper); border-radius: 2px;
  pointer-events: none; }
.dfer-timeline .words { margin: 10px 0 0; }
@container (max-width: 440px) {
  .dfer-timeline .rows { --label: -8px; --value: -8px; }
  .dfer-timeline .row { grid-template-columns: minmax(0, 1fr) auto; }
  .dfer-timeline .name { text-align: left; }
  .dfer-timeline .value { grid-row: 1; grid-column: 2; }
  .dfer-timeline svg, .dfer-timeline .axis { grid-column: 1 / -1; }
}
"""
"""How the timeline looks; it belongs into a `<style>` in the head of the page."""


@dataclass(frozen=True)
class Timeline:
    """Probabilities over time, ready to draw; NaN where the face was not seen.

    Args:
        starts_seconds: When each moment starts, shape `(num_moments,)`.
        ends_seconds: When each moment ends, shape `(num_moments,)`.
        fine: Probabilities of every fine class, each of shape `(num_moments,)`.
        coarse: Probabilities of every group, each of shape `(num_moments,)`.
        weights: Share of the answer that rests on each moment, shape `(num_moments,)`; 0 where the face was not seen.
        answers: What is shown of each moment: the answer of most of its frames.
        losses: How much of the probability of what is explained is lost without each moment, shape `(num_moments,)`;
            NaN where nobody asked or there is nothing to lose.
        explained: What is explained; empty if nobody asked.
        seconds_led: For how many seconds each class was the answer, or it was not sure, the longest first.
    """

    starts_seconds: np.ndarray
    ends_seconds: np.ndarray
    fine: Mapping[str, np.ndarray]
    coarse: Mapping[str, np.ndarray]
    weights: np.ndarray
    answers: tuple[str, ...]
    seconds_led: Mapping[str, float]
    losses: np.ndarray
    explained: str = ""

    @property
    def seen(self) -> np.ndarray:
        """Whether the face was seen, one truth value for each moment."""
        return ~np.isnan(next(iter(self.fine.values())))

    @property
    def gaps(self) -> tuple[tuple[float, float], ...]:
        """Start and end in seconds of every stretch without the face."""
        return tuple(
            (float(self.starts_seconds[run[0]]), float(self.ends_seconds[run[-1]])) for run in runs_of(~self.seen)
        )

    def in_words(self) -> str:
        """What the drawing shows, in a sentence or two."""
        led = [f"{label} for {seconds:.1f} s" for label, seconds in self.seconds_led.items()]
        sentence = f"Answers: {', '.join(led)}."
        if self.gaps:
            sentence += f" Not seen: {', '.join(f'{start:.1f} to {end:.1f} s' for start, end in self.gaps)}."
        return sentence


def build_timeline(
    face: FacePrediction, *, max_moments: int = MAX_MOMENTS, frame_seconds: float = _USUAL_FRAME_SECONDS
) -> Timeline:
    """Collect a face's answers over time.

    Args:
        face: The face; its gaps stay gaps.
        max_moments: Where there are more frames, neighbours are averaged. A moment is a gap when the face was in none
            of its frames.
        frame_seconds: How long a frame is shown, where the face has a single one.

    Raises:
        ValueError: If `max_moments` is not positive.
    """
    if max_moments < 1:
        raise ValueError(f"Expected max_moments of at least 1, got {max_moments}; {MAX_MOMENTS} is usual.")
    num_frames = len(face.frames)
    per_moment = -(-num_frames // max_moments)
    firsts = np.arange(0, num_frames, per_moment)
    times = np.array([frame.time_seconds for frame in face.frames])
    step = (times[-1] - times[0]) / (num_frames - 1) if num_frames > 1 else frame_seconds
    num_seen = np.add.reduceat([frame.fine is not None for frame in face.frames], firsts, dtype=int)
    is_gap = num_seen == 0

    def mean(scores: list[Scores | None], label: str) -> np.ndarray:
        values = [0.0 if score is None else score.probabilities[label] for score in scores]
        return np.where(is_gap, np.nan, np.add.reduceat(values, firsts) / np.maximum(num_seen, 1))

    led: Counter[str] = Counter()
    for frame, seconds in zip(face.frames, np.diff(times, append=times[-1] + step).tolist(), strict=True):
        if frame.fine is not None:
            led["not sure" if frame.is_unsure else frame.fine.label] += seconds
    fine, coarse = [frame.fine for frame in face.frames], [frame.coarse for frame in face.frames]
    return Timeline(
        starts_seconds=times[firsts],
        ends_seconds=np.append(times[firsts[1:]], times[-1] + step),
        fine={label: mean(fine, label) for label in face.fine.probabilities},
        coarse={label: mean(coarse, label) for label in face.coarse.probabilities},
        weights=np.add.reduceat([frame.weight for frame in face.frames], firsts),
        answers=tuple(_answer_of(face.frames[first : first + per_moment]) for first in firsts),
        seconds_led={label: seconds for label, seconds in led.most_common() if seconds >= 0.05},
        losses=_mean_losses(face.frames, firsts),
        explained=face.explanation.target if face.explanation else "",
    )


def _mean_losses(frames: Sequence[FramePrediction], firsts: np.ndarray) -> np.ndarray:
    """Mean of the losses of each moment's frames, `(num_moments,)`."""
    losses = [frame.loss_without for frame in frames]
    counted = np.add.reduceat([loss is not None for loss in losses], firsts, dtype=int)
    sums = np.add.reduceat([loss or 0.0 for loss in losses], firsts)
    return np.where(counted == 0, np.nan, sums / np.maximum(counted, 1))


def _answer_of(frames: Sequence[FramePrediction]) -> str:
    """What most of the frames that show the face are said to show."""
    seen = [frame.answer for frame in frames if frame.fine is not None]
    return Counter(seen or [frames[0].answer]).most_common(1)[0][0]


def timeline_html(
    face: FacePrediction,
    *,
    groups: Mapping[str, Sequence[str]],
    duration_seconds: float | None = None,
    frame_seconds: float = _USUAL_FRAME_SECONDS,
    video: str = "",
) -> str:
    """Draw the timeline as HTML that fits any width, without scripts or anything from elsewhere.

    A band of the groups, a row for every fine class, the weight of each moment, what is lost without it where that is
    known, an axis in seconds, and the same in words. Pointing at a moment names its answer and
    numbers. The page that shows it needs `TIMELINE_STYLE`.

    Args:
        face: The face.
        groups: Coarse group to its fine classes; sets order and colour of the rows.
        duration_seconds: Where the axis ends; with the face's last frame when left out.
        frame_seconds: How long a frame of the clip is shown.
        video: The id of the part of the page that plays the video, where a script of the page makes the timeline seek
            in it.
    """
    timeline = build_timeline(face, frame_seconds=frame_seconds)
    end_seconds = max(duration_seconds or 0.0, float(timeline.ends_seconds[-1])) or 1.0
    looks = group_looks(face.coarse.probabilities)
    canvas = Canvas(timeline.starts_seconds, timeline.ends_seconds, end_seconds, timeline.seen)
    led = timeline.seconds_led
    rows = [
        _row(
            "groups",
            canvas.stack(timeline.coarse, looks),
            "",
            described=_spread("groups", timeline.coarse),
            css="tall",
        )
    ]
    for group, labels in groups.items():
        for label in labels:
            probability = face.fine.probabilities[label]
            described = f"{_spread(label, {label: timeline.fine[label]})}, {probability:.0%} over the clip"
            css = "leads" if label == face.fine.label else ""
            drawn = canvas.area(timeline.fine[label], looks[group].css)
            rows.append(_row(label, drawn, f"{probability:.0%}", described=described, css=css))
    peak = float(timeline.weights.max()) or 1.0
    weights = np.where(timeline.seen, timeline.weights / peak, np.nan)
    heaviest = float(timeline.starts_seconds[timeline.weights.argmax()])
    described = f"weight of each moment, greatest at {heaviest:.1f} seconds"
    rows.append(_row("weight", canvas.area(weights, OF_NO_GROUP.css), "", described=described, css="apart"))
    words = f"{timeline.in_words()} " if led else ""
    lost = ""
    if not np.isnan(timeline.losses).all():
        row, lost = _loss_row(timeline, end_seconds)
        rows.append(row)
    return (
        f'<div class="dfer-timeline">{_legend(face.coarse, looks)}'
        f'<div class="rows">{"".join(rows)}{axis_html(end_seconds)}{_moments(timeline, end_seconds, video)}</div>'
        f'<p class="words">{escape(words)}<em>Weight</em> is how much a moment counted for the answer.{lost}</p></div>'
    )


def _loss_row(timeline: Timeline, end_seconds: float) -> tuple[str, str]:
    """What is lost without each moment, drawn and explained."""
    # As exactly as it is said.
    losses, known = timeline.losses.round(3), ~np.isnan(timeline.losses)
    canvas = Canvas(timeline.starts_seconds, timeline.ends_seconds, end_seconds, known)
    most = float(timeline.starts_seconds[np.nanargmax(losses)])
    least, greatest = points(float(np.nanmin(losses))), points(float(np.nanmax(losses)))
    described = f"lost without each moment: {least} to {greatest}, most at {most:.1f} seconds"
    said = (
        f" <em>Lost without</em> is by how many points the probability of {escape(timeline.explained)} falls when the "
        f"quarter of the clip around a moment is left out, {least} to {greatest}; below the line it rises."
    )
    return _row("lost without", canvas.signed_area(losses, OF_NO_GROUP.css), "", described=described), said


def _row(name: str, drawing: str, value: str, *, described: str, css: str = "") -> str:
    return (
        f'<div class="row {css}"><span class="name">{escape(name)}</span>'
        '<svg viewBox="0 0 1000 100" preserveAspectRatio="none" '
        f'role="img" aria-label="{escape(described)}">{drawing}</svg><span class="value">{value}</span></div>'
    )


def _legend(coarse: Scores, looks: Mapping[str, GroupLook]) -> str:
    chips = [f"<span>{chip_html(looks[group])}{escape(group)} {value:.0%}</span>" for group, value in coarse.ranked]
    return f'<div class="legend">{"".join(chips)}<span><span class="chip unseen"></span>face not seen</span></div>'


def chip_html(look: GroupLook) -> str:
    """A group's colour and pattern, for a legend."""
    return f'<span class="chip {look.pattern}" style="background-color:{look.css}"></span>'


def axis_html(end_seconds: float) -> str:
    """The seconds below the rows."""
    most = end_seconds / 4 * (1 + 1e-9)
    power = 10.0 ** np.floor(np.log10(most))
    step = power * max(factor for factor in (1, 2, 5) if factor * power <= most)
    ticks = np.arange(0, end_seconds * 0.97, step)
    spans = "".join(f'<span style="left:{100 * tick / end_seconds:.2f}%">{tick:g} s</span>' for tick in ticks)
    return f'<div class="row" aria-hidden="true"><div class="axis">{spans}</div></div>'


def _moments(timeline: Timeline, end_seconds: float, video: str) -> str:
    moments = []
    for index, (start, end) in enumerate(zip(timeline.starts_seconds, timeline.ends_seconds, strict=True)):
        numbers = ""
        if timeline.seen[index]:
            ranked = sorted(((values[index], label) for label, values in timeline.fine.items()), reverse=True)
            numbers = f" ({', '.join(f'{label} {value:.0%}' for value, label in ranked[:3])})"
        moments.append(Moment(float(start), float(end), timeline.answers[index], numbers))
    return moments_html(moments, end_seconds, video=video)


@dataclass(frozen=True)
class Moment:
    """A part of the axis that can be pointed at, what is said there, and the numbers behind that."""

    start_seconds: float
    end_seconds: float
    said: str
    numbers: str = ""


def moments_html(moments: Sequence[Moment], end_seconds: float, *, video: str) -> str:
    """What lies over the rows to be pointed at; with a video a slider with a playhead, which a script moves."""
    columns = []
    for moment in moments:
        start, end = moment.start_seconds, moment.end_seconds
        style = f"left:{100 * start / end_seconds:.2f}%;width:{100 * (end - start) / end_seconds:.2f}%"
        said = escape(moment.said)
        data = f' data-start="{start:.3f}" data-end="{end:.3f}" data-said="{said}"' if video else ""
        columns.append(f'<i style="{style}" title="{start:.2f} s: {said}{escape(moment.numbers)}"{data}></i>')
    if not video:
        return f'<div class="moments" aria-hidden="true">{"".join(columns)}</div>'
    first = escape(moments[0].said if moments and moments[0].start_seconds <= 0 else "face not seen")
    slider = f'role="slider" tabindex="0" aria-label="Moment of the video" data-video="{escape(video)}"'
    values = f'aria-valuemin="0" aria-valuemax="{end_seconds:.3f}" aria-valuenow="0" aria-valuetext="0.0 s: {first}"'
    return f'<div class="moments" {slider} {values}>{"".join(columns)}<b class="playhead"></b></div>'


def _spread(name: str, curves: Mapping[str, np.ndarray]) -> str:
    parts = [
        f"{'' if label == name else f'{label} '}{np.nanmin(values):.0%} to {np.nanmax(values):.0%}"
        for label, values in curves.items()
    ]
    return f"{name} over time: {', '.join(parts)}"
