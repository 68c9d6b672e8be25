import csv
import zipfile

import cv2
import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState, GradientState

from dfer_hf.faces.alignment import ARCFACE_TEMPLATE
from training.datasets.ferplus import VOTES

SEVEN = ("happiness", "sadness", "neutral", "anger", "surprise", "disgust", "fear")


@pytest.fixture(autouse=True)
def on_one_cpu_thread(monkeypatch):
    """Run on one thread and with a new accelerator, as accelerate keeps one state for the whole process."""
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def landmarks68(shift):
    """Return 68 points on a 48×48 still whose five alignment points are the template's."""
    five = ARCFACE_TEMPLATE * (48 / 112) + shift
    points = np.zeros((68, 2), np.float32)
    for part, place in ((slice(36, 42), 0), (slice(42, 48), 1), (30, 2), (48, 3), (54, 4)):
        points[part] = five[place]
    return points


def write_corpus(root, faces, *, landmarks_for=None):
    """Write a miniature of FER+: `faces` holds (split, votes by name, image or None) in order."""
    root.mkdir(parents=True, exist_ok=True)
    archives = {split: zipfile.ZipFile(root / f"{split}.zip", "w") for split in ("train", "valid")}
    names = []
    with (root / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["split", "image", *VOTES, "fer2013"])
        for index, (split, votes, image) in enumerate(faces):
            suffix = ".webp" if index % 2 else ".png"
            names.append(f"fer{index:07d}{suffix}")
            writer.writerow([split, names[-1], *(votes.get(vote, 0) for vote in VOTES), "unused"])
            if image is not None:
                lossless = [cv2.IMWRITE_WEBP_QUALITY, 101] if suffix == ".webp" else []
                archives[split].writestr(names[-1], cv2.imencode(suffix, image, lossless)[1].tobytes())
    for archive in archives.values():
        archive.close()
    kept = range(len(names)) if landmarks_for is None else landmarks_for
    np.savez(
        root / "landmarks68_pseudo.npz",
        image=np.array([names[index] for index in kept]),
        points=np.stack([landmarks68(index % 3 - 1) for index in kept]),
    )
    return names


def drawing(label, seed):
    """Draw a still whose class is told by the direction and width of its stripes, with grain."""
    y, x = np.mgrid[:48, :48]
    angle = label * np.pi / 7
    stripes = np.sin((x * np.cos(angle) + y * np.sin(angle)) / (1.5 + 0.4 * label))
    grain = np.random.default_rng(seed).normal(0, 10, (48, 48))
    return np.clip(127 + 90 * stripes + grain, 0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    """Six stills of each class to train with and three to validate with."""
    root = tmp_path_factory.mktemp("ferplus")
    faces = [
        (split, {emotion: 8, SEVEN[(label + 1) % 7]: 2}, drawing(label, 100 * label + number))
        for split, count in (("train", 6), ("valid", 3))
        for number in range(count)
        for label, emotion in enumerate(SEVEN)
    ]
    write_corpus(root, faces)
    return root
