"""The light ICT face model (Li et al. 2020): a mesh of a head, its identities, its expressions and its landmarks."""

from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

import numpy as np


class Part(IntEnum):
    """What a vertex belongs to."""

    FACE = 0
    HEAD = 1
    MOUTH_SOCKET = 2
    EYE_SOCKET = 3
    GUMS = 4
    TEETH = 5
    EYE = 6


NUM_VERTICES = 26719
VERTEX_RANGES: tuple[tuple[int, int, Part], ...] = (
    (0, 9409, Part.FACE),
    (9409, 11248, Part.HEAD),
    (11248, 13294, Part.MOUTH_SOCKET),
    (13294, 14062, Part.EYE_SOCKET),
    (14062, 17039, Part.GUMS),
    (17039, 21451, Part.TEETH),
    (21451, 22221, Part.EYE),
    (23021, 23791, Part.EYE),
)
"""First vertex of a part, and the one after its last.

Left out: the inner layer of the eyeballs (their outer one is opaque here, with the iris painted on), the transparent
films before them, and the lashes, whose cards are transparent too.
"""


@dataclass(frozen=True)
class FaceKit:
    """A head that can be given an identity and an expression; lengths are roughly centimetres, x to the right as seen.

    Args:
        neutral: Vertices of the mean face at rest, `(vertices, 3)`; z points to the camera, y up.
        triangles: Vertex indices, counter-clockwise as seen from outside, `(triangles, 3)`.
        parts: `Part` of each vertex, `(vertices,)`.
        identities: Changes of the vertices per unit of each identity component, `(components, vertices, 3)`; faces
            have components drawn from N(0, 1).
        expressions: Changes of the vertices by the name of a blend shape at full strength, each `(vertices, 3)`.
        landmarks: Vertex indices of the 68 landmarks in iBUG order, `(68,)`.
    """

    neutral: np.ndarray
    triangles: np.ndarray
    parts: np.ndarray
    identities: np.ndarray
    expressions: dict[str, np.ndarray]
    landmarks: np.ndarray


def load_face_kit(path: Path) -> FaceKit:
    """Read `ict_facekit.npz`.

    Raises:
        FileNotFoundError: If it is not there.
        ValueError: If its mesh has another number of vertices.
    """
    if not path.is_file():
        raise FileNotFoundError(f"Expected the face model at {path}, but it is not there.")
    with np.load(path, allow_pickle=False) as archive:
        neutral, faces = archive["neutral"], archive["faces"]
        if len(neutral) != NUM_VERTICES:
            raise ValueError(f"Expected {NUM_VERTICES} vertices, got {len(neutral)} in {path.name}.")
        kept = np.concatenate([np.arange(first, after) for first, after, _ in VERTEX_RANGES])
        # The last place is for the -1 that pads triangles.
        new_index = np.full(len(neutral) + 1, -1)
        new_index[kept] = np.arange(len(kept))
        faces = new_index[faces]
        triangles = np.concatenate([faces[:, [0, 1, 2]], faces[:, [0, 2, 3]]])
        return FaceKit(
            neutral=neutral[kept],
            triangles=triangles[(triangles >= 0).all(axis=1)],
            parts=np.concatenate([np.full(after - first, part) for first, after, part in VERTEX_RANGES]),
            identities=archive["identities"].take(kept, axis=1).astype(np.float32),
            expressions={
                str(name): change.take(kept, axis=0).astype(np.float32)
                for name, change in zip(archive["expression_names"], archive["expressions"], strict=True)
            },
            landmarks=new_index[archive["landmarks68"]],
        )
