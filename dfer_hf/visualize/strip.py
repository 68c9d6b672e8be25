"""The frames that counted most for a face's answer, as a strip of pictures."""

import base64
from collections.abc import Sequence
from dataclasses import replace
from html import escape

import cv2

from ..prediction import FacePrediction, FramePrediction
from ..video import Frame, FrameSpool
from .colours import Colour, group_colours
from .overlay import face_picture
from .text import is_noted, points

MOST_PICTURES = 6
PICTURE_SIDE, THUMBNAIL_SIDE = 200, 112
_JPEG_QUALITY = 85

STRIP_STYLE = """
.dfer-strip { display: flex; flex-wrap: wrap; gap: 10px; margin: 0; padding: 0; list-style: none; }
.dfer-strip li { flex: 1 1 100px; max-width: 150px; font-size: 13px; line-height: 1.3; break-inside: avoid; }
.dfer-strip img { display: block; width: 100%; aspect-ratio: 1; object-fit: cover; border-radius: 4px;
  margin-bottom: 4px; }
"""
"""How the strip looks; it belongs into a `<style>` in the head of the page."""


def key_frames(face: FacePrediction, *, most: int = MOST_PICTURES) -> list[FramePrediction]:
    """The frames that counted most for a face, in the order of time.

    Where it is known what is lost without each, that is what counts, and the weight that the system gave it otherwise.
    Neighbours look alike, so that frames that are closer together than half of an even spread stand for each other.

    Args:
        face: The face.
        most: So many frames at most.
    """
    # Where the whole clip is no better with any part of it than without, the weights are left.
    counted = costly_frames(face) or [frame for frame in face.frames if frame.box is not None and frame.weight > 0]
    apart = (face.frames[-1].time_seconds - face.frames[0].time_seconds) / (2 * most)
    chosen: list[FramePrediction] = []
    for frame in sorted(counted, key=_importance, reverse=True):
        if len(chosen) < most and all(abs(frame.time_seconds - other.time_seconds) >= apart for other in chosen):
            chosen.append(frame)
    return sorted(chosen, key=lambda frame: frame.frame_index)


def costly_frames(face: FacePrediction) -> list[FramePrediction]:
    """The frames without whose quarter of the clip the probability of what is explained falls."""
    return [frame for frame in face.frames if frame.box is not None and is_noted(frame.loss_without or 0.0)]


def _importance(frame: FramePrediction) -> tuple[float, float]:
    return frame.loss_without or 0.0, frame.weight


def strip_html(face: FacePrediction, frames: FrameSpool | Sequence[Frame], *, name: str) -> str:
    """Show the frames that counted most as pictures of the face, with box and heat map and with words below.

    Args:
        face: The face.
        frames: The frames of the video, by their index.
        name: What the description of a picture calls the face.
    """
    colours = group_colours(face.coarse.probabilities)
    explained = face.explanation.target if face.explanation else face.answer
    items = []
    for seen in key_frames(face):
        colour = (255, 255, 255) if seen.coarse is None else colours[seen.coarse.label]
        when = f"{seen.time_seconds:.1f} s"
        share = f"{seen.weight:.0%} of the weight"
        if is_noted(seen.loss_without or 0.0):
            share = f"falls by {points(seen.loss_without or 0.0)} without it"
        drawn = f", with what speaks for {explained} marked" if seen.heat_map is not None else ""
        described = f"{name} at {when}: {seen.answer}; {share}{drawn}"
        picture = _data_uri(frames[seen.frame_index], seen, colour)
        items.append(
            f'<li data-seconds="{seen.time_seconds:.3f}"><img src="{picture}" alt="{escape(described)}">'
            f"<strong>{when}</strong> {escape(seen.answer)}<br>{share}</li>"
        )
    return f'<ul class="dfer-strip">{"".join(items)}</ul>'


def thumbnail(face: FacePrediction, frames: FrameSpool | Sequence[Frame]) -> str:
    """Picture to know a face by, from the frame in the middle of those in which it is seen; without a heat map.

    Args:
        face: The face.
        frames: The frames of the video, by their index.

    Returns:
        What goes into the `src` of an image.
    """
    seen = [frame for frame in face.frames if frame.box is not None]
    middle = replace(seen[len(seen) // 2], heat_map=None)
    return _data_uri(frames[middle.frame_index], middle, (255, 255, 255), side=THUMBNAIL_SIDE)


def _data_uri(frame: Frame, seen: FramePrediction, colour: Colour, *, side: int = PICTURE_SIDE) -> str:
    """The face as a JPEG that stands in the page itself."""
    rgb = face_picture(frame, seen, colour=colour, side=side)
    bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    jpeg = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1].tobytes()
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode('ascii')}"
