"""Read 52 blendshapes off pictures of faces, with MediaPipe's FaceLandmarker as the teacher.

`python training/landmarks/blendshapes.py <zip or folder of pictures> <face_landmarker.task> <output.npz>`

It runs in an environment of its own with `mediapipe` (1.2.3 was used) and opencv. It imports nothing else of ours, and
nothing else here needs MediaPipe. Tight crops, such as FER+'s of 48×48 pixels, are found with
`--border 12 --side 288`.
"""

import argparse
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import mediapipe  # pyright: ignore[reportMissingImports]  it is not part of this environment
import numpy as np
from mediapipe.tasks.python import BaseOptions, vision  # pyright: ignore[reportMissingImports]


def read_files(place: Path) -> Iterator[tuple[str, bytes]]:
    """Name and content of every file of a folder or a zip file."""
    if place.is_dir():
        for path in sorted(place.iterdir()):
            yield path.name, path.read_bytes()
        return
    with zipfile.ZipFile(place) as archive:
        for name in archive.namelist():
            yield name, archive.read(name)


def main() -> int:
    """Write names of pictures, names of blendshapes and their scores; pictures without a face get NaN."""
    parser = argparse.ArgumentParser(description="Read 52 blendshapes off pictures of faces.")
    parser.add_argument("pictures", type=Path, help="zip file or folder of pictures")
    parser.add_argument("model", type=Path, help="face_landmarker.task")
    parser.add_argument("output", type=Path, help="npz file to write")
    parser.add_argument("--border", type=int, default=0, help="pixels to add around each picture")
    parser.add_argument("--side", type=int, help="side to enlarge square pictures to")
    arguments = parser.parse_args()

    options = vision.FaceLandmarkerOptions(
        base_options=BaseOptions(model_asset_path=str(arguments.model)),
        output_face_blendshapes=True,
        min_face_detection_confidence=0.3,
        min_face_presence_confidence=0.3,
    )
    names, scores, blendshape_names = [], [], []
    with (
        vision.FaceLandmarker.create_from_options(options) as landmarker,
        zipfile.ZipFile(arguments.pictures) as archive,
    ):
        for name in archive.namelist():
            picture = cv2.imdecode(np.frombuffer(archive.read(name), np.uint8), cv2.IMREAD_COLOR_RGB)
            if picture is None:
                raise ValueError(
                    f"Expected a picture, but {name} cannot be read. Take it out of {arguments.pictures}."
                )
            if arguments.border:
                border = arguments.border
                picture = cv2.copyMakeBorder(picture, border, border, border, border, cv2.BORDER_REPLICATE)
            if arguments.side:
                picture = cv2.resize(picture, (arguments.side, arguments.side), interpolation=cv2.INTER_CUBIC)
            image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(picture))
            found = landmarker.detect(image).face_blendshapes
            names.append(name)
            scores.append([category.score for category in found[0]] if found else None)
            if found:
                blendshape_names = [category.category_name for category in found[0]]
    empty = [np.nan] * len(blendshape_names)
    np.savez(
        arguments.output,
        image=np.array(names),
        blendshape_names=np.array(blendshape_names),
        scores=np.array([empty if score is None else score for score in scores], dtype=np.float16),
    )
    sys.stdout.write(f"{sum(score is not None for score in scores)} of {len(scores)} pictures show a face\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
