"""A prediction in words and as a table to read."""

from ..prediction import ClipPrediction, FacePrediction

TABLE_HEADERS: tuple[str, ...] = ("seconds", "expression", "probability", "group", "group probability", "weight")
"""What stands above the columns of `table_rows`."""

NOT_AN_EMOTION = "An expression is not an emotion."

LIMITS_OF_USE: tuple[str, ...] = (
    "The models say what a face looks like to the people who labelled the training pictures. They do not say what "
    "somebody feels: people smile without joy and grieve without a sign, and the scientific ground for reading "
    "emotion off a face is weak (Barrett et al. 2019). Do not decide anything about a person on an answer of this "
    "software.",
    "Article 5(1)(f) of the EU AI Act forbids to infer emotions of people at the workplace and in education, except "
    "for medical or safety reasons. Other uses of emotion recognition are high-risk there (Annex III), and the people "
    "exposed must be told (Article 50(3)). Ask those you film. The training pictures were collected from the web and "
    "are not balanced by age, gender or origin; expect the answers to be worse for some people than for others.",
)
"""What an answer is not for, a paragraph each, as in docs/responsible-use.md."""


def summarise(prediction: ClipPrediction) -> list[str]:
    """Say what was read and what to be careful about, a sentence or phrase each."""
    num_faces = len(prediction.faces)
    size = f"{prediction.num_frames} frames · {prediction.duration_seconds:.1f} seconds"
    counts = [
        "1 picture" if prediction.num_frames == 1 else size,
        f"{num_faces} {'face' if num_faces == 1 else 'faces'}",
        prediction.model,
    ]
    notes = [note for face in prediction.faces for note in face_notes(face, name_face(prediction, face))]
    return [" · ".join(counts), *notes, *warning_notes(prediction)]


def name_face(prediction: ClipPrediction, face: FacePrediction) -> str:
    """Name a face at the start of a sentence: by its number where there are several."""
    return "The face" if len(prediction.faces) == 1 else f"Face {face.track_id + 1}"


def face_notes(face: FacePrediction, name: str) -> list[str]:
    """Say why a face's answer is not sure, and that it was not always seen, a sentence each."""
    return unsure_notes(face, name) + coverage_notes(face, name)


def length_of(prediction: ClipPrediction) -> str:
    """How much of it there is, for a line on the screen."""
    if prediction.num_frames == 1:
        return "1 picture"
    return f"{prediction.num_frames} frames in {prediction.duration_seconds:.1f} s"


def unsure_notes(face: FacePrediction, name: str) -> list[str]:
    """Say why a face's answer is not sure, if it is not."""
    if not face.is_unsure:
        return []
    problems = face.quality.problems if face.quality else ()
    is_spread = len(face.fine.prediction_set) > 1 or face.coarse.lead < 0
    otherwise = "more than one expression is probable" if is_spread else "the system itself names another group"
    return [f"{name}: {face.answer}, since {', '.join(problems) or otherwise}."]


def coverage_notes(face: FacePrediction, name: str) -> list[str]:
    """Say that a face was not always seen, if it was not."""
    if face.coverage == 1:
        return []
    seen = f"{name} was seen in {face.coverage:.0%} of the frames between its first and its last"
    return [f"{seen}; the answer rests on those."]


def explanation_notes(face: FacePrediction) -> list[str]:
    """Say what speaks for what was explained, how probable it is, and when it rests on the clip most."""
    explanation = face.explanation
    if explanation is None:
        return []
    notes = [
        explanation.sentence,
        f"Against what it is compared with, its probability is {explanation.probability:.0%}.",
    ]
    costs = {frame.time_seconds: frame.loss_without for frame in face.frames if frame.loss_without is not None}
    if costs:
        when = max(costs, key=lambda seconds: costs[seconds])
        notes.append(
            f"Without the quarter of the clip around {when:.1f} s it would {_change_in_words(-costs[when])}."
            if is_noted(costs[when])
            else "No quarter of the clip speaks for it: without any of them it would not fall."
        )
    return notes


def _change_in_words(change: float) -> str:
    """How a probability changes, in points."""
    return f"{'fall' if change < 0 else 'rise'} by {points(abs(change))}"


def is_noted(share: float) -> bool:
    """Whether a difference of probabilities is more than nothing in the words of `points`."""
    return round(100 * share, 1) > 0


def points(share: float) -> str:
    """A difference of probabilities in percentage points."""
    # Nothing has no sign.
    value = f"{round(100 * share, 1) + 0.0:.1f}" if abs(share) < 0.1 else f"{100 * share:.0f}"
    return f"{value} points"


def warning_notes(prediction: ClipPrediction) -> list[str]:
    """What the reader should be careful about, a sentence each."""
    return [f"Careful: {warning}" for warning in prediction.warnings]


def describe_face(face: FacePrediction) -> str:
    """One line to tell a face from the others by."""
    first, last = face.frames[0].time_seconds, face.frames[-1].time_seconds
    when = f", {first:.1f} to {last:.1f} s" if last > first else ""
    return f"Face {face.track_id + 1}: {face.answer} {face.fine.confidence:.0%}{when}"


def table_rows(face: FacePrediction) -> list[list[str]]:
    """One row per frame under `TABLE_HEADERS`; frames without the face say so."""
    rows = []
    for frame in face.frames:
        scores = [frame.answer, "", "", ""]
        if frame.fine is not None and frame.coarse is not None:
            fine, coarse = frame.fine, frame.coarse
            scores = [frame.answer, f"{fine.confidence:.1%}", coarse.label, f"{coarse.confidence:.1%}"]
        rows.append([f"{frame.time_seconds:.2f}", *scores, f"{frame.weight:.2%}"])
    return rows
