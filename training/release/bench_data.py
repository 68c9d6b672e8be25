"""What the benches show: aligned face crops of FER+, muxspace and the London Set, and clips, by fixed rules.

Crops are cut as the predictor cuts them. A bench takes so many cases of each class, evenly spaced over the data set's
order; their weights give each class the share that it has in the data set.
"""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from dfer_hf.faces import FaceDetector
from dfer_hf.faces.alignment import CROP_SIZE, align
from dfer_hf.faces.boxes import box_area
from dfer_hf.faces.crop_stream import WORKING_SIDE, crop_faces
from dfer_hf.taxonomy import SEVEN_EMOTIONS
from dfer_hf.video import Frame, read_frames
from training.data.movable_faces import movable_ferplus
from training.data.moving_script import ALL_KINDS
from training.data.moving_stills import MovingStills
from training.datasets.ferplus import FerPlus, load_ferplus
from training.datasets.london import list_london
from training.datasets.muxspace import list_muxspace, read_photographs
from training.release.scoring import Asked

CLEAN, NOISE_SHARES = "clean", (0.25, 0.5, 0.75)


@dataclass(frozen=True, eq=False)
class Faces:
    """Aligned crops, uint8 of shape `(count, 112, 112, 3)`, with what is asked of them.

    Args:
        crops: The crops.
        asked: What is right.
        not_found: Pictures in which no face was found; they are not among the crops.
        traits: What is known of the people by name, such as gender, `(count,)` each.
    """

    crops: np.ndarray
    asked: Asked
    not_found: int
    traits: dict[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.crops)

    def subset(self, places: np.ndarray) -> "Faces":
        """Keep crops at places."""
        traits = {name: values[places] for name, values in self.traits.items()}
        return Faces(self.crops[places], self.asked.subset(places), self.not_found, traits)


@dataclass(frozen=True, eq=False)
class BenchClips:
    """Clips of one kind and share of noise.

    Args:
        crops: uint8 of shape `(count, frames, 112, 112, 3)`.
        asked: What is right.
        off_target: Which frames do not show the label, `(count, frames)`.
    """

    crops: np.ndarray
    asked: Asked
    off_target: np.ndarray

    @classmethod
    def join(cls, parts: Sequence["BenchClips"]) -> "BenchClips":
        """Put clips of several kinds and shares together."""
        crops, off_target = (
            np.concatenate([getattr(part, name) for part in parts]) for name in ("crops", "off_target")
        )
        return cls(crops, Asked.join([part.asked for part in parts]), off_target)


def spread(labels: np.ndarray, per_class: int | None, among: np.ndarray | None = None) -> np.ndarray:
    """Choose up to `per_class` places of each class, evenly spaced among the places allowed; all where it is None."""
    allowed = np.arange(len(labels)) if among is None else among
    if per_class is None:
        return allowed
    chosen = []
    for label in np.unique(labels[allowed]):
        places = allowed[labels[allowed] == label]
        count = min(per_class, len(places))
        chosen.append(places[((np.arange(count) + 0.5) * len(places) / count).astype(int)])
    return np.sort(np.concatenate(chosen))


def class_weights(labels: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """What share of the data set each chosen case stands for, by its class; they sum to 1."""
    num_labels = int(labels.max()) + 1
    shares = np.bincount(labels, minlength=num_labels) / len(labels)
    counts = np.bincount(labels[chosen], minlength=num_labels)
    weights = shares[labels[chosen]] / counts[labels[chosen]]
    return weights / weights.sum()


def ferplus_split(root: Path) -> FerPlus:
    """FER+'s valid split, which nothing is trained on."""
    return load_ferplus(root, "valid")


def ferplus_asked(faces: FerPlus, chosen: np.ndarray) -> Asked:
    """What is asked of faces of FER+; every second one, from the first, is for calibration."""
    return Asked(faces.labels[chosen], class_weights(faces.labels, chosen), chosen % 2 == 1)


def ferplus_faces(faces: FerPlus, per_class: int | None, *, is_fixed: bool = False) -> Faces:
    """Faces of FER+ aligned by their own points, or all by one frame: that of the mean points of the split."""
    chosen = spread(faces.labels, per_class)
    points = faces.points
    if is_fixed:
        points = np.broadcast_to(points.mean(axis=0), points.shape)
    crops = np.stack([align(_rgb(faces.images[place]), points[place]) for place in chosen])
    return Faces(crops, ferplus_asked(faces, chosen), 0, {})


def ferplus_pictures(faces: FerPlus, per_class: int | None, detector: FaceDetector) -> Faces:
    """Faces of FER+ as the predictor finds them in the pictures."""
    chosen = spread(faces.labels, per_class)
    return found_faces([_rgb(faces.images[place]) for place in chosen], ferplus_asked(faces, chosen), detector)


def found_faces(
    pictures: Sequence[np.ndarray], asked: Asked, detector: FaceDetector, traits: dict[str, np.ndarray] | None = None
) -> Faces:
    """Find and cut out the largest face of every picture, as the predictor does."""
    crops, places = [], []
    for place, picture in enumerate(pictures):
        ((found),) = crop_faces([Frame(0, 0.0, picture)], detector)
        if found.faces:
            crops.append(max(found.faces, key=lambda face: box_area(face.box)).crop)
            places.append(place)
    there = np.array(places, dtype=int)
    kept = {name: values[there] for name, values in (traits or {}).items()}
    stacked = np.stack(crops) if crops else np.empty((0, 112, 112, 3), np.uint8)
    return Faces(stacked, asked.subset(there), len(pictures) - len(there), kept)


def muxspace_faces(root: Path, detector: FaceDetector, per_class: int | None) -> Faces:
    """Photographs of muxspace's test people, found in the pictures."""
    photographs = list_muxspace(root, "test")
    labels = np.array([SEVEN_EMOTIONS.index(photograph.emotion) for photograph in photographs])
    chosen = spread(labels, per_class)
    kept = [photographs[place] for place in chosen]
    asked = Asked(
        labels[chosen],
        class_weights(labels, chosen),
        np.ones(len(chosen), bool),
        tuple(photo.person for photo in kept),
    )
    return found_faces(list(read_photographs(root, kept)), asked, detector)


def london_pictures(root: Path) -> tuple[list[np.ndarray], Asked, dict[str, np.ndarray]]:
    """Smiling and neutral portraits of the London Set's test people, with gender, age and ethnicity.

    Raises:
        FileNotFoundError: If there are no portraits or people.
    """
    portraits = list_london(root, "test")
    if not (root / "people.csv").is_file():
        raise FileNotFoundError(f"Expected people.csv in {root}, found none. Pass the folder of the London Set.")
    with (root / "people.csv").open(newline="", encoding="utf-8") as file:
        people = {row["person"]: row for row in csv.DictReader(file)}
    labels = np.array([SEVEN_EMOTIONS.index(portrait.emotion) for portrait in portraits])
    rows = [people.get(portrait.person, {}) for portrait in portraits]
    traits = {
        "gender": np.array([row.get("gender") or "not given" for row in rows]),
        "age": np.array([_age_group(row.get("age", "")) for row in rows]),
        "ethnicity": np.array([row.get("ethnicity") or "not given" for row in rows]),
    }
    persons = tuple(portrait.person for portrait in portraits)
    weights = np.full(len(labels), 1 / len(labels))
    pictures = [next(iter(read_frames(portrait.path, max_side=WORKING_SIDE))).rgb for portrait in portraits]
    return pictures, Asked(labels, weights, np.ones(len(labels), bool), persons), traits


def noise_bench(faces: FerPlus, per_class: int) -> Iterator[tuple[str, float, BenchClips]]:
    """Clips with a share of noise, kind by kind, of the faces that confidence is not calibrated on."""
    chosen = spread(faces.labels, per_class, np.arange(1, len(faces), 2))
    for kind, share, clips in _cells(faces):
        yield kind, share, _make_clips(faces, clips, chosen)


def calibration_clips(
    faces: FerPlus, per_class: int, *, shares: Sequence[float] | None = None
) -> Iterator[BenchClips]:
    """Clips of the other faces with so much noise; by default none and a little, as most clips show what they say."""
    shares = (0.0, min(NOISE_SHARES)) if shares is None else shares
    chosen = spread(faces.labels, per_class, np.arange(0, len(faces), 2))
    for _, share, clips in _cells(faces):
        if share in shares:
            yield _make_clips(faces, clips, chosen)


def _cells(faces: FerPlus) -> Iterator[tuple[str, float, MovingStills]]:
    movable = movable_ferplus(faces)
    yield CLEAN, 0.0, MovingStills(movable, noise_share=0.0)
    for kind in ALL_KINDS:
        for share in NOISE_SHARES:
            name = kind.name.lower().replace("_", " ")
            yield name, share, MovingStills(movable, noise_share=share, noise_kinds=(kind,))


def _make_clips(faces: FerPlus, clips: MovingStills, chosen: np.ndarray) -> BenchClips:
    """Clips of the faces at `chosen`, each drawn with its place as seed."""
    made = [
        clips.make(torch.tensor([place]), CROP_SIZE, torch.Generator().manual_seed(place)) for place in chosen.tolist()
    ]
    crops = np.concatenate([clip.frames for clip in made])
    if crops.shape[-1] == 1:
        crops = crops.repeat(3, axis=-1)
    off_target = torch.cat([clip.script.off_target for clip in made]).numpy()
    asked = Asked(faces.labels[chosen], class_weights(faces.labels, chosen), np.ones(len(chosen), bool))
    return BenchClips(crops, asked, off_target)


def _rgb(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey[..., None], 3, axis=2)


def _age_group(age: str) -> str:
    if not age.strip().isdigit():
        return "not given"
    return "up to 25" if int(age) <= 25 else "26 to 35" if int(age) <= 35 else "36 and more"
