"""Draw what several systems say of one clip: answers side by side, and timelines on one axis."""

from collections.abc import Mapping
from html import escape

from ..comparison import Agreement, Comparison, FaceComparison, Frames, runs_of_frames
from ..prediction import ClipPrediction, FacePrediction
from .colours import GroupLook, group_looks
from .text import coverage_notes, name_face, unsure_notes, warning_notes
from .timeline import Moment, axis_html, build_timeline, chip_html, moments_html

COMPARE_TITLE = "Facial expressions in video: a comparison"

COMPARE_STYLE = """
.dfer-compare .lane { position: relative; height: 30px; background: rgba(128, 128, 128, .08); border-radius: 3px;
  overflow: hidden; }
.dfer-compare .lane i { position: absolute; top: 0; bottom: 0; overflow: hidden; white-space: nowrap; padding: 6px 4px;
  text-overflow: ellipsis;
  font-style: normal; font-size: 12px; line-height: 18px; color: light-dark(#fff, #141414);
  box-shadow: inset 2px 0 0 var(--band-paper); }
.dfer-compare .lane i:empty { padding: 0; }
.dfer-compare .lane i.unseen { color: inherit; box-shadow: none;
  background: repeating-linear-gradient(90deg, currentColor 0 2px, transparent 2px 7px) center / 100% 2px no-repeat,
  rgba(128, 128, 128, .25); }
.dfer-compare i:is(.dotted, .lined, .dashed, .barred)::after { content: ""; position: absolute; inset: auto 0 0;
  height: 5px; background: linear-gradient(90deg, var(--band-paper) 1.5px, transparent 0) 0 / 6px 100%; }
.dfer-compare i.dotted::after { background: radial-gradient(circle, var(--band-paper) 1.3px, transparent 1.5px)
  0 / 5px 5px; }
.dfer-compare i.dashed::after { background: linear-gradient(90deg, var(--band-paper) 7px, transparent 0)
  0 / 11px 2px repeat-x; }
.dfer-compare i.barred::after { background: linear-gradient(90deg, var(--band-paper) 4px, transparent 0)
  0 / 9px 100%; }
.dfer-compare .rows { --value: 0rem; }
.dfer-compare .expression { background: currentColor; }
.dfer-compare .group { background: repeating-linear-gradient(45deg, currentColor 0 2px, transparent 2px 7px); }
.dfer-compare .neither { background: none; }
.dfer-compare .agreement { height: 16px; border: 1px solid currentColor; }
.dfer-compare .agreement i { padding: 0; color: inherit; box-shadow: none; }
.dfer-compare .legend .chip { border: 1px solid currentColor; }
.dfer-answers { border-collapse: collapse; table-layout: fixed; width: 100%; font-size: .85rem; margin: 0 0 12px; }
.dfer-answers.dfer-answers :is(th, td) { text-align: left; white-space: normal; padding: 4px 6px 4px 0;
  border-bottom: 1px solid rgba(128, 128, 128, .6); }
.dfer-answers :is(th, td) { overflow-wrap: anywhere; hyphens: auto; }
.dfer-answers th:first-child { width: 27%; }
.dfer-answers th:nth-child(2) { width: 38%; }
@container (max-width: 440px) {
  .dfer-compare .rows { --value: -8px; }
  .dfer-compare .lane { grid-column: 1 / -1; }
}
"""
"""How a comparison looks, with `TIMELINE_STYLE`; it belongs into a `<style>` in the head of the page."""

_MEANINGS = {Agreement.EXPRESSION: "same expression", Agreement.GROUP: "same group", Agreement.NEITHER: "neither"}
# Of a lane's width; a narrower block has no room for a word.
_NARROW_SHARE = 0.06


def comparison_html(comparison: Comparison, *, video: str = "") -> str:
    """Show all faces of a clip: a table of the answers, a lane for each system, where they agree, and words.

    Args:
        comparison: What the systems say.
        video: The id of the part of the page that plays the video, where a script of the page makes the lanes seek.
    """
    clip = comparison.predictions[0]
    sections = []
    for compared in comparison.faces:
        name = name_face(clip, compared.faces[0])
        parts = [f"<h3>{name}</h3>", _answers_table(compared)]
        # A picture has no time line.
        if clip.num_frames > 1:
            frame_seconds = clip.duration_seconds / clip.num_frames
            lanes = _lanes(compared, end_seconds=clip.duration_seconds, frame_seconds=frame_seconds, video=video)
            parts.append(lanes)
            parts += [f"<p>{escape(sentence)}</p>" for sentence in compared.in_words()]
        notes = coverage_notes(compared.faces[0], name)
        for model, face in zip(compared.models, compared.faces, strict=True):
            notes += unsure_notes(face, f"{name}, {model}")
        parts += [f"<p>{escape(note)}</p>" for note in notes]
        sections.append(f"<section>{''.join(parts)}</section>")
    return "".join(sections)


def comparison_article(comparison: Comparison) -> str:
    """A comparison as a part of a report, with the name of its clip and what is odd about the file."""
    clip = comparison.predictions[0]
    name = f'<h2 translate="no">{escape(clip.source)}</h2>'
    return f"<article>\n{name}\n{notice_html(clip)}{comparison_html(comparison)}</article>\n"


def notice_html(clip: ClipPrediction) -> str:
    """What the reader should be careful about, set apart; nothing where there is nothing."""
    notes = "".join(f"<p>{escape(note)}</p>" for note in warning_notes(clip))
    return f'<div class="notice">{notes}</div>\n' if notes else ""


def _answers_table(compared: FaceComparison) -> str:
    heads = "".join(f'<th scope="col">{head}</th>' for head in ("model", "answer", "group"))
    rows = []
    for model, face in zip(compared.models, compared.faces, strict=True):
        group = f"{escape(face.coarse.label)} {face.coarse.confidence:.0%}"
        rows.append(
            f'<tr><th scope="row">{escape(model)}</th><td><strong>{escape(face.answer)}</strong> '
            f"{face.fine.confidence:.0%}</td><td>{group}</td></tr>"
        )
    return f'<table class="dfer-answers"><thead><tr>{heads}</tr></thead><tbody>{"".join(rows)}</tbody></table>'


def _lanes(compared: FaceComparison, *, end_seconds: float, frame_seconds: float, video: str) -> str:
    rows = []
    # One for all systems, as their groups may be others.
    looks = group_looks({group: None for face in compared.faces for group in face.coarse.probabilities})
    for model, face in zip(compared.models, compared.faces, strict=True):
        said = f"{model}. {build_timeline(face, frame_seconds=frame_seconds).in_words()}"
        blocks = _blocks(face, looks, end_seconds=end_seconds, frame_seconds=frame_seconds)
        rows.append(_row(model, blocks, described=said))
    agreed = "".join(
        _block(
            stretch.start_seconds,
            stretch.end_seconds,
            end_seconds,
            css="unseen" if stretch.agreement is None else stretch.agreement.value,
            title="face not seen" if stretch.agreement is None else _MEANINGS[stretch.agreement],
        )
        for stretch in compared.stretches
    )
    rows.append(_row("agreement", agreed, described=" ".join(compared.in_words(most=0)), css="agreement"))
    chips = "".join(
        f'<span><span class="chip {agreement.value}"></span>{meaning}</span>'
        for agreement, meaning in _MEANINGS.items()
    )
    groups = "".join(f"<span>{chip_html(look)}{escape(group)}</span>" for group, look in looks.items())
    moments = moments_html(_moments(compared, frame_seconds), end_seconds, video=video)
    unseen = '<span><span class="chip unseen"></span>face not seen</span>'
    return (
        f'<div class="dfer-timeline dfer-compare"><div class="legend">{groups}{unseen}</div>'
        f'<div class="rows">{"".join(rows)}{axis_html(end_seconds)}{moments}</div>'
        f'<div class="legend">{chips}</div></div>'
    )


def _moments(compared: FaceComparison, frame_seconds: float) -> list[Moment]:
    """Stretches in which no system changes its answer."""
    moments = []
    for start, end, answers, run in runs_of_frames(compared.faces, _answers, frame_seconds=frame_seconds):
        said = "; ".join(f"{model}: {answer}" for model, answer in zip(compared.models, answers, strict=True))
        moments.append(Moment(start, end, answers[0] if run[0][0].fine is None else said))
    return moments


def _answers(frames: Frames) -> list[str]:
    return [frame.answer for frame in frames]


def _blocks(face: FacePrediction, looks: Mapping[str, GroupLook], *, end_seconds: float, frame_seconds: float) -> str:
    """A block for each stretch of one answer, with the answer written in it."""
    blocks = ""
    for start, end, _, run in runs_of_frames([face], _answers, frame_seconds=frame_seconds):
        ((frame,), *_) = run
        css, colour = "unseen", ""
        if frame.coarse is not None:
            look = looks[frame.coarse.label]
            css, colour = look.pattern, f"background-color:{look.css}"
        is_wide = (end - start) / end_seconds >= _NARROW_SHARE
        words = frame.answer if is_wide and frame.coarse is not None else ""
        blocks += _block(start, end, end_seconds, css=css, title=frame.answer, style=colour, words=words)
    return blocks


def _block(
    start: float, end: float, end_seconds: float, *, css: str, title: str, style: str = "", words: str = ""
) -> str:
    place = f"left:{100 * start / end_seconds:.2f}%;width:{100 * (end - start) / end_seconds:.2f}%;{style}"
    said = f"{start:.1f} to {end:.1f} s: {title}"
    return f'<i class="{css}" style="{place}" title="{escape(said)}">{escape(words)}</i>'


def _row(name: str, blocks: str, *, described: str, css: str = "") -> str:
    return (
        f'<div class="row"><span class="name">{escape(name)}</span>'
        f'<div class="lane {css}" role="img" aria-label="{escape(described)}">{blocks}</div></div>'
    )
