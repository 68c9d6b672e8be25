"""How faces reach the system: framing errors of the crop, and faces that are small in the picture."""

from collections.abc import Sequence
from typing import Any

from training.data.corruptions import reframe, shrink
from training.evaluation.metrics import percent
from training.release.bench_corruptions import uar
from training.release.bench_data import ferplus_faces, ferplus_split, found_faces, london_pictures
from training.release.bench_room import Room
from training.release.systems import System

STILLS_PER_CLASS = 12
SHIFTS, SCALES = (0.05, 0.1, 0.2), (0.8, 1.25)
"""Of the crop's side, to a side that is drawn; and how much larger the face is in the crop."""

FACE_WIDTHS = (20, 32, 64)
FACE_SHARE = 0.4
"""Width of a face as a share of the width of a picture of the London Set, about."""


def measure_conditions(systems: Sequence[System], room: Room) -> dict[str, Any]:
    """Measure framing errors on FER+'s valid split, and sizes of the face on the London Set's test people.

    Pictures are shrunk until their faces have about so many pixels, and go the predictor's whole way: a face that is
    not found counts as a wrong answer.
    """
    faces = ferplus_faces(ferplus_split(room.folder("ferplus")), STILLS_PER_CLASS)
    pictures, asked, _ = london_pictures(room.folder("london"))
    detector, sized = systems[0].predictor.detector, {}
    for width in FACE_WIDTHS:
        smaller = [shrink(picture, width / (FACE_SHARE * picture.shape[1])) for picture in pictures]
        sized[width] = found_faces(smaller, asked, detector)
    framed = {"as aligned": faces.crops}
    framed |= {f"shifted by {shift:.0%}": reframe(faces.crops, shift=shift) for shift in SHIFTS}
    framed |= {f"{scale:g} times as large": reframe(faces.crops, scale=scale) for scale in SCALES}
    return {
        system.name: {
            "framing": {
                name: percent(uar(system.answer_stills(crops).decided, faces.asked.labels))
                for name, crops in framed.items()
            },
            "face_width": {
                f"{width} px": {
                    "found": percent(len(found) / len(pictures)),
                    "right": percent(
                        int((system.answer_stills(found.crops).decided == found.asked.labels).sum()) / len(pictures)
                    ) if len(found) else 0.0,
                }
                for width, found in sized.items()
            },
        }
        for system in systems
    }  # fmt: skip
