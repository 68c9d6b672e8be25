"""Pictures with faces that a detector of no cost finds, and whose crops say which frame they are of."""

import itertools
import os
import time

import cv2
import numpy as np

from dfer_hf.faces import Detection
from dfer_hf.faces.alignment import ARCFACE_TEMPLATE
from dfer_hf.taxonomy import Emotion
from training.cache.face_clips import FaceCropper
from training.datasets.corpus import Clip
from training.prepare import prepare

ANNA, BERT = 200, 100
"""Red of a person's face; its green is the number of the frame."""


def picture(number=0, *faces, size=(60, 90)):
    """Grey, with a square of the red `person` and the green `number` for each face `(person, left, top, side)`."""
    rgb = np.full((*size, 3), 50, np.uint8)
    for person, left, top, side in faces:
        rgb[top : top + side, left : left + side] = (person, number, 0)
    return rgb


class MarkedFaceDetector:
    """Finds the squares of `picture`; the crop of a face then shows nothing else."""

    settings = {"detector": "marked"}

    def __init__(self, seconds=0.0):
        self.seconds = seconds

    def detect(self, images):
        time.sleep(self.seconds)
        return [[face for person in (ANNA, BERT) for face in self._find(image, person)] for image in images]

    @staticmethod
    def _find(image, person):
        rows, columns = np.nonzero((abs(image[..., 0].astype(int) - person) < 12) & (image[..., 2] < 12))
        if len(rows):
            left, top, side = columns.min(), rows.min(), int(np.ptp(columns)) + 1
            points = ARCFACE_TEMPLATE * (side / 112) + (left, top)
            yield Detection((left, top, left + side, top + side), points, 0.99)


class DyingDetector(MarkedFaceDetector):
    """Takes its process along when it sees Bert."""

    def detect(self, images):
        found = super().detect(images)
        for image in images:
            if any(self._find(image, BERT)):
                os._exit(9)
        return found


def write_picture(path, rgb):
    cv2.imwrite(str(path), rgb[..., ::-1])
    return path


def write_folder(folder, pictures):
    """Write frames as a corpus ships them, and return the folder."""
    folder.mkdir(parents=True)
    for number, rgb in enumerate(pictures):
        write_picture(folder / f"{folder.name}_{number:05d}.png", rgb)
    return folder


def clip_of(source, name=None, **options):
    return Clip(name or source.name, source, Emotion.HAPPINESS, **options)


def folder_clips(root, count, *, num_frames=4):
    """Clips of Anna in folders, each of a few frames more than the one before."""
    frames = itertools.count(1)
    return [
        clip_of(
            write_folder(
                root / f"clip.{index}",
                [picture(next(frames) % 250, (ANNA, 10, 8, 40)) for _ in range(num_frames + index % 3)],
            ),
            f"set one/clip.{index}.mp4",
        )
        for index in range(count)
    ]


MARKED = FaceCropper(detector=MarkedFaceDetector())


def run(clips, output, cropper=MARKED, **options):
    return prepare(clips, output, corpus="made_up", cropper=cropper, **options)


def content(cache):
    """All files of a cache, without the empty lock."""
    return {path.name: path.read_bytes() for path in sorted(cache.iterdir()) if path.stat().st_size}
