"""Bring real faces of FER+, muxspace and the London Set into one folder to train frame recognisers on.

`python -m training.prepare_faces <folder of ferplus, muxspace and london> --blendshapes … --output runs/faces`, where
`blendshapes` holds `ferplus_train.npz`, `ferplus_valid.npz`, `muxspace.npz` and `london.npz` as
`training/landmarks/blendshapes.py` writes them. Faces of muxspace and London are found as `dfer predict` finds them;
FER+ comes with landmarks.
"""

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from dfer_hf.faces import MtcnnFaceDetector
from dfer_hf.taxonomy import SEVEN_EMOTIONS, Emotion
from training.data.transforms import alignment_matrices
from training.datasets.face_bank import MARGIN, FaceBank, cut_wide
from training.datasets.ferplus import load_ferplus
from training.datasets.london import list_london, read_portraits
from training.datasets.muxspace import list_muxspace, read_photographs
from training.landmarks.predict_landmarks import predict_landmarks

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
        crop_to_image=alignment_matrices(faces.points).numpy(),
        labels=faces.labels,
        votes=votes.astype(np.float32),
        landmarks=faces.landmarks.astype(np.float32),
        blendshapes=scores_of(faces.names, read_blendshapes(blendshapes)),
        names=faces.names,
    )


def muxspace_bank(root: Path, split: str, blendshapes: Path) -> FaceBank:
    """Photographs of muxspace in colour; their one label counts for most of the target."""
    photographs = list_muxspace(root, split)
    emotions, names = [entry.emotion for entry in photographs], [entry.name for entry in photographs]
    share = LABEL_SHARE if split == "train" else 1.0
    return _found_bank(read_photographs(root, photographs), emotions, names, blendshapes, label_share=share)


def london_bank(root: Path, split: str, blendshapes: Path) -> FaceBank:
    """Smiling and neutral portraits of the London Set in colour."""
    portraits = list_london(root, split)
    emotions, names = [entry.emotion for entry in portraits], [entry.path.name for entry in portraits]
    return _found_bank(read_portraits(portraits), emotions, names, blendshapes)


def _found_bank(
    pictures: Iterable[np.ndarray],
    emotions: Sequence[Emotion],
    names: Sequence[str],
    blendshapes: Path,
    *,
    label_share: float = 1.0,
) -> FaceBank:
    """Faces that MTCNN finds in pictures, cut out wide; pictures in which it finds none are left out.

    Their landmarks are those that the key-points GCN predicts.
    """
    detector = MtcnnFaceDetector()
    crops, kept = [], []
    for index, picture in enumerate(pictures):
        found = detector.detect([picture])[0]
        if found:
            crops.append(cut_wide(picture, found[0].points))
            kept.append(index)
    sys.stdout.write(f"{blendshapes.stem}: a face was found in {len(kept)} of {len(names)} pictures\n")
    labels = np.array([SEVEN_EMOTIONS.index(emotions[index]) for index in kept])
    kept_names, num_classes = np.array(names)[kept], len(SEVEN_EMOTIONS)
    votes = label_share * np.eye(num_classes)[labels] + (1 - label_share) / num_classes
    images = np.stack(crops).transpose(0, 3, 1, 2)
    crop_to_image = np.tile(np.array([[1, 0, MARGIN], [0, 1, MARGIN]], np.float32), (len(kept), 1, 1))
    return FaceBank(
        images=images,
        crop_to_image=crop_to_image,
        labels=labels,
        votes=votes.astype(np.float32),
        landmarks=predict_landmarks(images, crop_to_image),
        blendshapes=scores_of(kept_names, read_blendshapes(blendshapes)),
        names=kept_names,
    )


def main() -> int:
    """Write a bank of each dataset and split."""
    parser = argparse.ArgumentParser(description="Bring real faces into one folder to train on.")
    parser.add_argument("data", type=Path, help="folder that holds ferplus, muxspace and london")
    parser.add_argument("--blendshapes", type=Path, required=True, help="folder of ferplus_train.npz and the others")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    arguments = parser.parse_args()
    data, known, output = arguments.data, arguments.blendshapes, arguments.output
    for split in ("train", "test"):
        london_bank(data / "london", split, known / "london.npz").save(output / f"london_{split}")
        muxspace_bank(data / "muxspace", split, known / "muxspace.npz").save(output / f"muxspace_{split}")
    for split in ("train", "valid"):
        ferplus_bank(data / "ferplus", split, known / f"ferplus_{split}.npz").save(output / f"ferplus_{split}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
