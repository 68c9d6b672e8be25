"""A folder of small datasets and systems with random weights, for the benches."""

import csv
import shutil
import zipfile

import cv2
import numpy as np
import pytest
import torch

import dfer_hf
from dfer_hf.faces.alignment import ARCFACE_TEMPLATE
from dfer_hf.faces.detection import Detection
from training.datasets import london
from training.datasets.people import is_test_person
from training.release.bench_room import Room
from training.release.systems import RECOGNISER, System

from ..conftest import SEVEN, drawing

# Of these names the SHA-1 is divisible by ten, so that the people are among those to test with.
TEST_PEOPLE = ("p4", "p11", "p21")


class MiddleDetector:
    """Finds one face in the middle of every picture, as wide as the picture; none where the picture is black."""

    settings = {"detector": "middle"}

    def detect(self, images):
        """One face for each picture."""
        found = []
        for image in images:
            side = min(image.shape[:2])
            points = (ARCFACE_TEMPLATE * side / 112).astype(np.float32)
            face = Detection((0.0, 0.0, float(side), float(side)), points, 0.999)
            found.append([face] if image.any() else [])
        return found


def build_system(kind, name, **fields):
    torch.manual_seed(0)
    model_class = dfer_hf.systems()[kind]
    model = model_class(model_class.config_class.from_preset("tiny", **fields))
    config = model.config
    size = {"height": config.image_size, "width": config.image_size}
    processor = dfer_hf.DferVideoProcessor(size=size, num_frames=config.num_frames, every_frame=model.takes_any_length)
    return System(name, dfer_hf.VideoPredictor(model, processor, name=name, detector=MiddleDetector()))


@pytest.fixture(scope="session")
def systems():
    """The recogniser, and a system that looks at sixteen frames together and has prediction sets."""
    return [build_system("frame_resnet", RECOGNISER), build_system("aen", "tiny-aen", set_threshold=0.14)]


@pytest.fixture(scope="session")
def room(corpus, tmp_path_factory):
    root = tmp_path_factory.mktemp("datasets")
    shutil.copytree(corpus, root / "ferplus")
    (root / "london" / "images").mkdir(parents=True)
    with (root / "london" / "people.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["person", "age", "gender", "ethnicity"])
        people = [person for person in range(1, 30) if is_test_person(f"{person:03d}", london.TEST_PARTS)]
        others = (("24", "female", "white"), ("", "male", "white"), ("40", "male", ""))
        for person, row in zip(people, others, strict=False):
            rows.writerow([f"{person:03d}", *row])
            for number, shown in enumerate(("neutral", "smiling")):
                picture = cv2.resize(drawing(number, person), (96, 96))
                cv2.imwrite(str(root / "london" / "images" / f"{person:03d}_{shown}.jpg"), picture)
    (root / "muxspace").mkdir()
    with (
        zipfile.ZipFile(root / "muxspace" / "train.zip", "w") as archive,
        (root / "muxspace" / "labels.csv").open("w", newline="", encoding="utf-8") as file,
    ):
        rows = csv.writer(file)
        rows.writerow(["image", "label", "person"])
        for place in range(21):
            # The last one shows no face.
            picture = drawing(place % 7, place) if place < 20 else np.zeros((48, 48), np.uint8)
            archive.writestr(f"{place}.png", cv2.imencode(".png", picture)[1].tobytes())
            rows.writerow([f"{place}.png", SEVEN[place % 7], TEST_PEOPLE[place % 3]])
    return Room(root)
