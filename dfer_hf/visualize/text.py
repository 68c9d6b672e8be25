"""A prediction in words and as a table to read."""

from ..prediction import ClipPrediction, FacePrediction

TABLE_HEADERS: tuple[str, ...] = ("seconds", "expression", "probability", "group", "group probability", "weight")
"""What stands above the columns of `table_rows`."""


def summarise(prediction: ClipPrediction) -> list[str]:
    """Say what was read and what to be careful about, a sentence or phrase each."""
    num_faces = len(prediction.faces)
    size = f"{prediction.num_frames} frames · {prediction.duration_seconds:.1f} seconds"
    counts = [
        "1 picture" if prediction.num_frames == 1 else size,
        f"{num_faces} {'face' if num_faces == 1 else 'faces'}",
        prediction.model,
    ]
    lines = [" · ".join(counts)]
    for face in prediction.faces:
        who = "The face" if num_faces == 1 else f"Face {face.track_id + 1}"
        if face.is_unsure:
            problems = face.quality.problems if face.quality else ()
            reasons = ", ".join(problems) or "more than one expression is probable"
            lines.append(f"{who}: {face.answer}, since {reasons}.")
        if face.coverage < 1:
            lines.append(
                f"{who} was seen in {face.coverage:.0%} of the frames between its first and its last; "
                "the answer rests on those."
            )
    return lines + [f"Careful: {warning}" for warning in prediction.warnings]


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
