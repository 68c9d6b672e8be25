"""The choice between several faces, each by its picture and its answer."""

from collections.abc import Iterable
from html import escape

from dfer_hf.shown_answer import ShownFace

CHOOSE = """element.addEventListener("change", (event) => {
    trigger("select", { track_id: Number(event.target.value) });
});"""
"""Tells the server which face was chosen, in the part of the page that `faces_html` is shown in."""


def faces_html(faces: Iterable[ShownFace], *, chosen: int) -> str:
    """Offer faces to choose from, as radio buttons.

    Args:
        faces: At least one.
        chosen: Its `track_id`.
    """
    choices = []
    for face in faces:
        name = f"Face {face.track_id + 1}"
        checked = " checked" if face.track_id == chosen else ""
        choices.append(
            f'<label><input type="radio" name="face" value="{face.track_id}"{checked}>'
            f'<img src="{face.picture}" alt="Picture of {name}"> <span>{escape(face.description)}</span></label>'
        )
    return f"<fieldset><legend>Which face</legend>{''.join(choices)}</fieldset>"
