"""Answers as an HTML page that stands alone: no script, nothing from elsewhere, every picture inside."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timezone
from html import escape
from typing import Any

from ..checkpoint_facts import CheckpointFacts
from ..prediction import ClipPrediction, FacePrediction, Scores
from ..video import Frame, FrameSpool, VideoInfo
from .compare import COMPARE_STYLE, notice_html
from .legend import HEAT_MAP_NOTE, LEGEND_STYLE, heat_map_bar_html
from .strip import STRIP_STYLE, costly_frames, strip_html
from .text import LIMITS_OF_USE, NOT_AN_EMOTION, explanation_notes, face_notes, name_face
from .timeline import TIMELINE_STYLE, timeline_html

REPORT_TITLE = "Facial expressions in video: a report"

PAGE_STYLE = """
:root { color-scheme: light dark; --ink: #1a1a1a; --paper: #fff; --soft: #555; --line: #767676; --plate: #f2f2f2; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #ececec; --paper: #161616; --soft: #b5b5b5; --line: #8a8a8a; --plate: #262626; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 16px; max-width: 60rem; color: var(--ink); background: var(--paper);
  font: 16px/1.5 system-ui, sans-serif; overflow-wrap: break-word; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 4px; }
h2 { font-size: 1.25rem; margin: 2rem 0 .5rem; padding-top: .5rem; border-top: 2px solid var(--line); }
h3 { font-size: 1.05rem; margin: 1.5rem 0 .25rem; }
h4 { font-size: .95rem; margin: 1.25rem 0 .4rem; }
p { margin: 0 0 .6rem; }
.soft { color: var(--soft); }
.answer { font-size: 1.6rem; line-height: 1.2; font-weight: 650; margin: 0; }
.notice { border-left: 4px solid #b36b00; padding: 8px 14px; margin: 12px 0; background: var(--plate); }
.notice p:last-child { margin: 0; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--soft); padding-bottom: 4px; }
th, td { text-align: left; vertical-align: top; padding: 3px 10px 3px 0; border-bottom: 1px solid var(--line); }
th, td, h2 { overflow-wrap: anywhere; hyphens: auto; }
.tables { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(16rem, 100%), 1fr)); gap: 0 2rem;
  align-items: start; overflow-x: auto; }
.tables :is(th, td) { overflow-wrap: break-word; }
@page { size: A4; margin: 16mm; }
@media print {
  :root { color-scheme: light; --ink: #000; --paper: #fff; --soft: #444; --plate: #f2f2f2; }
  body { padding: 0; max-width: none; font-size: 10.5pt; }
  h2, h3, h4 { break-after: avoid; }
  tr, .notice, .dfer-timeline .row { break-inside: avoid; }
  * { -webkit-print-color-adjust: exact; print-color-adjust: exact; }
}
"""

# Nothing can be loaded or run, whatever the page were made to say.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def page_head(*, made_on: date | None = None, title: str = REPORT_TITLE) -> str:
    """What stands above the articles: the title, the day (today where it is left out), and what an answer is not."""
    made_on = made_on or datetime.now(timezone.utc).date()
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{PAGE_STYLE}{TIMELINE_STYLE}{STRIP_STYLE}{LEGEND_STYLE}{COMPARE_STYLE}"
        "</style>\n</head>\n"
        f'<body>\n<header>\n<h1>{escape(title)}</h1>\n<p class="soft">Made on {made_on:%Y-%m-%d}</p>\n'
        f'<div class="notice"><p><strong>{NOT_AN_EMOTION}</strong> This page says what faces look like; it does not '
        "say what anybody feels, and it is often wrong. What it must not be used for stands at its end.</p></div>\n"
        "</header>\n<main>\n"
    )


def page_foot(checkpoints: Sequence[CheckpointFacts], *, versions: Mapping[str, str]) -> str:
    """What stands below the articles: models, settings, versions and limits, and the end of the page."""
    models = "".join(_checkpoint_section(checkpoint) for checkpoint in checkpoints)
    limits = "".join(f"<p>{escape(paragraph)}</p>\n" for paragraph in LIMITS_OF_USE)
    return (
        f"{models}<section>\n<h2>Versions</h2>\n{facts_table(versions)}</section>\n"
        f"<section>\n<h2>Limits and responsible use</h2>\n<p><strong>{NOT_AN_EMOTION}</strong></p>\n"
        f"{limits}</section>\n</main>\n</body>\n</html>\n"
    )


def clip_article(
    prediction: ClipPrediction, frames: FrameSpool | Sequence[Frame], *, info: VideoInfo, checkpoint: CheckpointFacts
) -> str:
    """Report on one clip: what it is, and every face's answer with its pictures, timeline and scores.

    Args:
        prediction: What was found, with heat maps where the pictures shall show them.
        frames: The frames of the clip, by their index.
        info: What the header of the file says.
        checkpoint: What answered.
    """
    faces = "".join(_face_section(prediction, face, frames, checkpoint) for face in prediction.faces)
    return (
        f'<article>\n<h2 translate="no">{escape(prediction.source)}</h2>\n'
        f"{facts_table(_clip_facts(prediction, info))}"
        f"{notice_html(prediction)}{faces}</article>\n"
    )


def error_article(source: str, message: str) -> str:
    """Report that a file could not be analysed, and why."""
    said = f'<div class="notice"><p>{escape(message)}</p></div>'
    return f'<article>\n<h2 translate="no">{escape(source)}</h2>\n{said}\n</article>\n'


def _clip_facts(prediction: ClipPrediction, info: VideoInfo) -> dict[str, str]:
    size = f"{info.width}×{info.height} pixels, {info.size_bytes / 1e6:.2f} MB, {info.codec}"
    if prediction.num_frames == 1:
        return {"Picture": size, "Faces": str(len(prediction.faces)), "Model": prediction.model}
    length = f"{prediction.duration_seconds:.1f} seconds, {prediction.num_frames} frames"
    return {
        "Length": f"{length}, {prediction.frames_per_second:.4g} frames a second",
        "Picture": size,
        "Faces": str(len(prediction.faces)),
        "Model": prediction.model,
    }


def _face_section(
    prediction: ClipPrediction, face: FacePrediction, frames: FrameSpool | Sequence[Frame], checkpoint: CheckpointFacts
) -> str:
    name = name_face(prediction, face)
    is_drawn = any(frame.heat_map is not None for frame in face.frames)
    explained = f" {HEAT_MAP_NOTE} {heat_map_bar_html()}" if is_drawn else ""
    measured = "each with how far the probability falls without the quarter of the clip around it"
    measured = measured if costly_frames(face) else "the weights of all frames sum to 100%"
    why = [f"<p>{escape(note)}</p>" for note in explanation_notes(face)]
    parts = [
        f"<h3>{name}</h3>",
        f'<p class="answer">{escape(face.answer)}</p>',
        f"<p>{escape(answer_sentence(face))}</p>",
        *(f"<p>{escape(note)}</p>" for note in face_notes(face, name)),
        *(["<h4>What speaks for it</h4>", *why] if why else []),
        "<h4>The frames that counted most</h4>",
        f'<p class="soft">In the order of time; {measured}.{explained}</p>',
        strip_html(face, frames, name=name),
    ]
    # A picture has no time line.
    if prediction.num_frames > 1:
        drawing = timeline_html(
            face,
            groups=checkpoint.groups,
            duration_seconds=prediction.duration_seconds,
            frame_seconds=prediction.duration_seconds / prediction.num_frames,
        )
        parts += ["<h4>Over time</h4>", drawing]
    groups = {label: group for group, labels in checkpoint.groups.items() for label in labels}
    tables = _scores_table(face.fine, "Expressions", groups) + _scores_table(face.coarse, "Groups of expressions", {})
    parts += ["<h4>Probabilities over the whole clip</h4>", f'<div class="tables">{tables}</div>']
    parts += ["<h4>How well the face is seen</h4>", facts_table(_quality_facts(face))]
    content = "\n".join(parts)
    return f"<section>\n{content}\n</section>\n"


def answer_sentence(face: FacePrediction) -> str:
    """Say how probable a face's answer and its group are, and what else it may be."""
    said = (
        f"{face.fine.label} with a probability of {face.fine.confidence:.0%}, in the group {face.coarse.label} with "
        f"{face.coarse.confidence:.0%}."
    )
    if face.fine.set_threshold is None:
        return said
    among = ", ".join(face.fine.prediction_set)
    return f"{said} Prediction set: {among}. Nine in ten faces like those it was calibrated on show one of their set."


def _scores_table(scores: Scores, caption: str, groups: Mapping[str, str]) -> str:
    heads = ["", "probability", *(["group", "in the set"] if groups else [])]
    rows = []
    for label, value in scores.ranked:
        name = f"<strong>{escape(label)}</strong>" if label == scores.label else escape(label)
        in_set = "yes" if label in scores.prediction_set else "no"
        cells = [f"{value:.1%}", *([escape(groups[label]), in_set] if groups else [])]
        rows.append(f'<tr><th scope="row">{name}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>')
    head = "".join(f'<th scope="col">{title or "name"}</th>' for title in heads)
    return f"<table><caption>{caption}</caption><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _quality_facts(face: FacePrediction) -> dict[str, str]:
    seen = [frame for frame in face.frames if frame.box is not None]
    looked_at = sum(not frame.is_interpolated for frame in seen)
    facts = {
        "Seen": f"in {len(seen)} of {len(face.frames)} frames from its first to its last",
        "Analysed": f"{looked_at} frames; what lies between them is interpolated"
        if looked_at < len(seen)
        else f"{looked_at} {'frame' if looked_at == 1 else 'frames'}",
    }
    if face.quality is None:
        return facts
    problems = ", ".join(face.quality.problems)
    measured = {name: value for name, value in face.quality.to_dict().items() if isinstance(value, float)}
    return facts | {"Problems": problems or "none"} | {_title(name): f"{value:g}" for name, value in measured.items()}


def _title(name: str) -> str:
    """A field's name as a person writes it: `size_pixels` is the size in pixels."""
    for unit in ("pixels", "degrees", "seconds"):
        name = name.replace(f"_{unit}", f" in {unit}")
    return name.replace("_", " ").capitalize()


def _checkpoint_section(checkpoint: CheckpointFacts) -> str:
    said = "<p>There is no card with this checkpoint that says what it was trained on.</p>"
    if checkpoint.trained_on:
        # Cards and names of settings are in English.
        paragraphs = "".join(f"<p>{escape(paragraph)}</p>" for paragraph in checkpoint.trained_on)
        said = f'<div lang="en" translate="no">{paragraphs}</div>'
    name = escape(checkpoint.name)
    return (
        f"<section>\n<h2>The model {name}</h2>\n<h3>What it was trained on</h3>\n{said}"
        f'<h3>Settings</h3>\n<div lang="en" translate="no">{facts_table(_flat(checkpoint.settings))}</div></section>\n'
    )


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Settings within settings, by their names in a row."""
    flat: dict[str, str] = {}
    for name, value in settings.items():
        title = prefix + _title(name)
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{title}: ")
        else:
            flat[title] = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return flat


def facts_table(facts: Mapping[str, str]) -> str:
    """Names and values, a row each."""
    rows = (f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>' for name, value in facts.items())
    return f"<table><tbody>{''.join(rows)}</tbody></table>\n"
