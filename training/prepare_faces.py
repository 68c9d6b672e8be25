"""Bring real faces of FER+ and muxspace into one folder to train frame recognisers on.

`python -m training.prepare_faces --ferplus … --muxspace … --blendshapes … --output runs/faces`, where `blendshapes`
holds `ferplus_train.npz`, `ferplus_valid.npz` and `muxspace.npz` as `training/landmarks/blendshapes.py` writes them.
Faces of muxspace are found as `dfer predict` finds them; FER+ comes with landmarks.
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np

from dfer_hf.faces import MtcnnFaceDetector
from dfer_hf.faces.alignment import similarity_transform
from dfer_hf.taxonomy import SEVEN_EMOTIONS
from training.datasets.face_bank import MARGIN, WIDE_SIZE, FaceBank, alignment_inverses
from training.datasets.ferplus import load_ferplus
from training.datasets.muxspace import list_muxspace, read_photographs

FIRST_LABEL_SHARE = 0.2
"""Of the target of a FER+ face that is FER2013's own label: the crowd hardly ever votes for fear or disgust."""

LABEL_SHARE = 0.9
"""Of the target of a photograph of muxspace that is its one label, which is noisy; the rest goes to all classes."""

NUM_BLENDSHAPES = 52


def read_blendshapes(path: Path) -> dict[str, np.ndarray]:
    """Scores of each picture by its name, `(52,)` each."""
    with np.load(path, allow_pickle=False) as archive:
        return dict(zip(archive["image"].tolist(), archive["scores"].astype(np.float32), strict=True))


def scores_of(names: np.ndarray, known: Mapping[str, np.ndarray]) -> np.ndarray:
    """Scores of pictures in order, `(count, 52)`; NaN where there are none."""
    unknown = np.full(NUM_BLENDSHAPES, np.nan, dtype=np.float32)
    return np.stack([known.get(name, unknown) for name in names])


def ferplus_bank(root: Path, split: str, blendshapes: Path) -> FaceBank:
    """FER+ as it is: 48×48 grey pixels, votes mixed with FER2013's label in training."""
    faces = load_ferplus(root, split)
    votes = faces.votes
    if split == "train":
        first = np.where(faces.first_labels < 0, faces.labels, faces.first_labels)
        votes = (1 - FIRST_LABEL_SHARE) * votes + FIRST_LABEL_SHARE * np.eye(len(SEVEN_EMOTIONS))[first]
    return FaceBank(
        images=faces.images[:, None],
        crop_to_image=alignment_inverses(faces.points),
        labels=faces.labels,
        votes=votes.astype(np.float32),
        blendshapes=scores_of(faces.names, read_blendshapes(blendshapes)),
        names=faces.names,
    )


def muxspace_bank(root: Path, split: str, blendshapes: Path) -> FaceBank:
    """Faces of muxspace in colour, cut out wide where MTCNN finds them; photographs without a face are left out."""
    photographs = list_muxspace(root, split)
    detector = MtcnnFaceDetector()
    crops, kept = [], []
    for index, picture in enumerate(read_photographs(root, photographs)):
        found = detector.detect([picture])[0]
        if found:
            transform = similarity_transform(found[0].points)
            transform[:, 2] += MARGIN
            crops.append(cv2.warpAffine(picture, transform, (WIDE_SIZE, WIDE_SIZE), flags=cv2.INTER_AREA))
            kept.append(index)
    sys.stdout.write(f"{split}: a face was found in {len(kept)} of {len(photographs)} photographs\n")
    labels = np.array([SEVEN_EMOTIONS.index(photographs[index].emotion) for index in kept])
    names = np.array([photographs[index].name for index in kept])
    num_classes = len(SEVEN_EMOTIONS)
    share = LABEL_SHARE if split == "train" else 1.0
    votes = share * np.eye(num_classes)[labels] + (1 - share) / num_classes
    return FaceBank(
        images=np.stack(crops).transpose(0, 3, 1, 2),
        crop_to_image=np.tile(np.array([[1, 0, MARGIN], [0, 1, MARGIN]], np.float32), (len(kept), 1, 1)),
        labels=labels,
        votes=votes.astype(np.float32),
        blendshapes=scores_of(names, read_blendshapes(blendshapes)),
        names=names,
    )


def main() -> int:
    """Write a bank of each dataset and split."""
    parser = argparse.ArgumentParser(description="Bring real faces into one folder to train on.")
    parser.add_argument("--ferplus", type=Path, required=True, help="folder of FER+")
    parser.add_argument("--muxspace", type=Path, required=True, help="folder of muxspace")
    parser.add_argument("--blendshapes", type=Path, required=True, help="folder of ferplus_train.npz and the others")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    arguments = parser.parse_args()
    known = arguments.blendshapes
    ferplus_bank(arguments.ferplus, "valid", known / "ferplus_valid.npz").save(arguments.output / "ferplus_valid")
    muxspace_bank(arguments.muxspace, "test", known / "muxspace.npz").save(arguments.output / "muxspace_test")
    muxspace_bank(arguments.muxspace, "train", known / "muxspace.npz").save(arguments.output / "muxspace_train")
    ferplus_bank(arguments.ferplus, "train", known / "ferplus_train.npz").save(arguments.output / "ferplus_train")
    return 0


if __name__ == "__main__":
    sys.exit(main())
