"""Find faces in images: the protocol of a detector, and MTCNN as the one that comes with the package."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import cv2
import numpy as np

from .boxes import areas, box_area

# MTCNN's first network looks at 12x12 pixels, one such cell every two pixels.
_PROPOSAL_CELL = 12
_PROPOSAL_STRIDE = 2
_CROPS_PER_PASS = 512


class NoFaceFoundError(ValueError):
    """Raised by whoever needs a face where there is none in the whole clip or image."""


@dataclass(frozen=True)
class Detection:
    """A face in one image.

    Attributes:
        box: Left, top, right and bottom in pixels of the image; may reach beyond its borders.
        points: Left eye, right eye, nose, left and right mouth corner as seen in the image: (x, y) in pixels,
            shape `(5, 2)`.
        confidence: Between 0 and 1.
    """

    box: tuple[float, float, float, float]
    points: np.ndarray
    confidence: float


class FaceDetector(Protocol):
    """What tracking and prediction need of a detector."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """Everything that decides what is detected, as plain values; `detector` is its name."""
        ...

    def detect(self, images: Sequence[np.ndarray]) -> list[list[Detection]]:
        """Find the faces of every image, the largest first.

        Args:
            images: RGB images, uint8 of shape `(height, width, 3)`; they may differ in size.

        Returns:
            One list for every image, empty where there is no face.
        """
        ...


@runtime_checkable
class RefiningFaceDetector(FaceDetector, Protocol):
    """A detector that can also look where faces are expected and nowhere else, which costs it little."""

    def refine(self, images: Sequence[np.ndarray], boxes: Sequence[np.ndarray]) -> list[list[Detection]]:
        """Find the faces near boxes, the largest first.

        Args:
            images: As for `detect`.
            boxes: Where faces are expected in each image, `(K, 4)`: left, top, right and bottom in its pixels.

        Returns:
            One list for every image, empty where no box has a face.
        """
        ...


Network = Callable[[np.ndarray], Sequence[np.ndarray]]
"""One of MTCNN's three: takes uint8 images `(N, height, width, 3)` of one size, and returns its outputs."""


class MtcnnFaceDetector:
    """MTCNN (Zhang et al. 2016) with the weights that facenet-pytorch ships.

    The three networks are facenet-pytorch's. The cascade around them is written here, because facenet's fails
    on images that are tiny, grey or of mixed sizes, and spends most of its time outside the networks. Faces
    are searched on an image shrunk to `detection_side`, but refined on the pixels of the image as it came, so
    the points do not lose precision by the shrinking.

    Nothing is built before the first call of `detect`, and nothing is ever downloaded.
    """

    def __init__(
        self,
        *,
        detection_side: int = 640,
        min_face_pixels: int = 24,
        thresholds: tuple[float, float, float] = (0.6, 0.7, 0.7),
        pyramid_factor: float = 0.709,
        batch_size: int = 8,
        device: str = "cpu",
        networks: Callable[[], tuple[Network, Network, Network]] | None = None,
    ):
        """Keep the settings; the networks are built when the first image comes.

        Args:
            detection_side: Longer side in pixels that larger images are shrunk to before faces are searched.
            min_face_pixels: Side of the smallest face searched, in pixels of the shrunk image; time grows as
                its square falls.
            thresholds: Confidence needed to pass each of the three networks.
            pyramid_factor: Ratio between one size of face searched and the next.
            batch_size: Images of equal size that go through the first network together.
            device: Where the networks run, as torch names it.
            networks: Builds those that propose, refine and describe faces, where torch is not to run them; they
                have the same weights.

        Raises:
            ValueError: If a setting is out of its range.
        """
        if min_face_pixels < _PROPOSAL_CELL or detection_side < min_face_pixels:
            raise ValueError(
                f"Expected {_PROPOSAL_CELL} <= min_face_pixels <= detection_side, got {min_face_pixels} and "
                f"{detection_side}; raise detection_side to find smaller faces."
            )
        if len(thresholds) != 3 or not all(0 < threshold < 1 for threshold in thresholds):
            raise ValueError(f"Expected three thresholds between 0 and 1, got {thresholds}; e.g. (0.6, 0.7, 0.7).")
        if not 0 < pyramid_factor < 1 or batch_size < 1:
            raise ValueError(
                "Expected a pyramid_factor between 0 and 1 and a batch_size of 1 or more, "
                f"got {pyramid_factor} and {batch_size}."
            )
        self.detection_side = detection_side
        self.min_face_pixels = min_face_pixels
        self.thresholds = tuple(thresholds)
        self.pyramid_factor = pyramid_factor
        self.batch_size = batch_size
        self.device, self.networks = device, networks

    @cached_property
    def _networks(self) -> tuple[Network, Network, Network]:
        """The networks that propose, refine and describe faces, built when first used."""
        if self.networks is not None:
            return self.networks()
        propose, refine, describe = (TorchNetwork(network, self.device) for network in mtcnn_modules())
        return propose, refine, describe

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that decides what is detected, as plain values to be recorded with a result."""
        return {
            "detector": "mtcnn",
            "weights": "facenet-pytorch",
            "detection_side": self.detection_side,
            "min_face_pixels": self.min_face_pixels,
            "thresholds": list(self.thresholds),
            "pyramid_factor": self.pyramid_factor,
        }

    def detect(self, images: Sequence[np.ndarray]) -> list[list[Detection]]:
        """Find the faces of every image, the largest first.

        Args:
            images: RGB images, uint8 of shape `(height, width, 3)`; they may differ in size. Grey images
                `(height, width)` or `(height, width, 1)` are spread over three channels, and of RGBA images
                `(height, width, 4)` the opacity is ignored.

        Returns:
            One list for every image, in pixels of that image; empty where there is no face, and for images
            smaller than the smallest face searched.

        Raises:
            ImportError: If facenet-pytorch is not installed.
            ValueError: If an image has another dtype or shape.
        """
        return self._find(images, None)

    def refine(self, images: Sequence[np.ndarray], boxes: Sequence[np.ndarray]) -> list[list[Detection]]:
        """Find the faces near boxes, by the second and the third network alone; see `RefiningFaceDetector.refine`.

        Raises:
            ImportError: If facenet-pytorch is not installed.
            ValueError: If an image has another dtype or shape, or there are more or fewer lists of boxes.
        """
        if len(boxes) != len(images):
            raise ValueError(f"Expected boxes for each of {len(images)} images, got them for {len(boxes)}.")
        return self._find(images, [np.asarray(expected, dtype=np.float64).reshape(-1, 4) for expected in boxes])

    def _find(self, images: Sequence[np.ndarray], expected: list[np.ndarray] | None) -> list[list[Detection]]:
        """Run the cascade on batches of images of one size, from the boxes expected or from a search."""
        images = [_as_rgb(image) for image in images]
        indices_by_shape = defaultdict(list)
        for index, image in enumerate(images):
            indices_by_shape[image.shape].append(index)
        detections: list[list[Detection]] = [[] for _ in images]
        for indices in indices_by_shape.values():
            for start in range(0, len(indices), self.batch_size):
                chosen = indices[start : start + self.batch_size]
                batch = [images[index] for index in chosen]
                # `owners` says which image of the batch each box of `(K, 4)` is of.
                if expected is None:
                    boxes, owners = self._propose(batch)
                else:
                    boxes = _square(np.concatenate([expected[index] for index in chosen]))
                    owners = np.repeat(np.arange(len(chosen)), [len(expected[index]) for index in chosen])
                boxes, owners = self._refine(batch, boxes, owners)
                for index, faces in zip(chosen, self._describe(batch, boxes, owners), strict=True):
                    detections[index] = faces
        return detections

    def _propose(self, images: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Search every size of face: square boxes `(K, 4)` in pixels of the images, and owners `(K,)`."""
        height, width = images[0].shape[:2]
        boxes, scores, owners = [np.zeros((0, 4))], [np.zeros(0)], [np.zeros(0, dtype=int)]
        for size in self._pyramid(width, height):
            # A level is made from the one before: much cheaper than from the image, and finds the same faces.
            images = [_resize(image, *size) for image in images]
            shifts, level_scores = self._run(self._networks[0], np.stack(images))
            owner, row, column = np.nonzero(level_scores[:, 1] >= self.thresholds[0])
            score = level_scores[owner, 1, row, column]
            corner = np.stack([column, row], axis=1) * _PROPOSAL_STRIDE
            box = np.concatenate([corner, corner + _PROPOSAL_CELL], axis=1) * (
                np.array([width, height] * 2) / np.tile(size, 2)
            )
            kept = _suppress(box, score, owner, max_overlap=0.5)
            boxes.append(_shifted(box[kept], shifts[owner, :, row, column][kept]))
            scores.append(score[kept])
            owners.append(owner[kept])
        boxes, scores, owners = np.concatenate(boxes), np.concatenate(scores), np.concatenate(owners)
        kept = _suppress(boxes, scores, owners, max_overlap=0.7)
        return _square(boxes[kept]), owners[kept]

    def _refine(
        self, images: list[np.ndarray], boxes: np.ndarray, owners: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Drop most proposals and correct the others; square boxes and their owners."""
        boxes, owners, crops = _cut(images, boxes, owners, side=24)
        if len(boxes) == 0:
            return boxes, owners
        shifts, scores = self._run(self._networks[1], crops)
        scores = scores[:, 1]
        passed = scores > self.thresholds[1]
        boxes, owners, shifts, scores = boxes[passed], owners[passed], shifts[passed], scores[passed]
        kept = _suppress(boxes, scores, owners, max_overlap=0.7)
        return _square(_shifted(boxes[kept], shifts[kept])), owners[kept]

    def _describe(self, images: list[np.ndarray], boxes: np.ndarray, owners: np.ndarray) -> list[list[Detection]]:
        """Decide which boxes are faces, and find their points."""
        found: list[list[Detection]] = [[] for _ in images]
        boxes, owners, crops = _cut(images, boxes, owners, side=48)
        if len(boxes) == 0:
            return found
        shifts, points, scores = self._run(self._networks[2], crops)
        points = points.reshape(-1, 2, 5).transpose(0, 2, 1)  # the network gives x of all five, then y of all five
        points = boxes[:, None, :2] + points * (boxes[:, 2:] - boxes[:, :2])[:, None]
        boxes, scores = _shifted(boxes, shifts), scores[:, 1]
        passed = np.flatnonzero(scores > self.thresholds[2])
        kept = passed[_suppress(boxes[passed], scores[passed], owners[passed], max_overlap=0.7, of_smaller=True)]
        for index in kept:
            face = Detection(tuple(boxes[index].tolist()), points[index], float(scores[index]))
            found[owners[index]].append(face)
        return [sorted(faces, key=lambda face: box_area(face.box), reverse=True) for faces in found]

    def _pyramid(self, width: int, height: int) -> Iterator[tuple[int, int]]:
        """Sizes at which the first network's cell covers faces of `min_face_pixels` and every larger one."""
        scale = min(1.0, self.detection_side / max(width, height)) * _PROPOSAL_CELL / self.min_face_pixels
        while min(width, height) * scale >= _PROPOSAL_CELL:
            yield round(width * scale), round(height * scale)
            scale *= self.pyramid_factor

    def _run(self, network: Network, pixels: np.ndarray) -> list[np.ndarray]:
        """Send uint8 images `(N, height, width, 3)` of one size through a network, a part at a time."""
        passes = [network(pixels[start : start + _CROPS_PER_PASS]) for start in range(0, len(pixels), _CROPS_PER_PASS)]
        return [np.concatenate(outputs) for outputs in zip(*passes, strict=True)]


def mtcnn_modules() -> tuple[Any, Any, Any]:
    """Build facenet-pytorch's networks that propose, refine and describe faces, in evaluation.

    Raises:
        ImportError: If facenet-pytorch is not installed.
    """
    try:
        from facenet_pytorch.models.mtcnn import ONet, PNet, RNet
    except ImportError as error:
        raise ImportError(
            "MtcnnFaceDetector needs facenet-pytorch, which is not installed; "
            "install it with `pip install facenet-pytorch==2.5.3`, or pass a detector of your own."
        ) from error
    return PNet().eval(), RNet().eval(), ONet().eval()


def mtcnn_outputs(module: Any, pixels: Any) -> tuple[Any, ...]:
    """Scale images as MTCNN wants them, a uint8 tensor `(N, height, width, 3)`, and send them through a network."""
    return module((pixels.permute(0, 3, 1, 2).float() - 127.5) / 128)


class TorchNetwork:
    """One of MTCNN's networks, run by torch."""

    def __init__(self, module: Any, device: str) -> None:
        self.module, self.device = module.to(device), device

    def __call__(self, pixels: np.ndarray) -> list[np.ndarray]:
        """Answer uint8 images `(N, height, width, 3)` of one size."""
        # Here, so that describing faces does not need torch.
        import torch

        with torch.inference_mode(), one_thread():
            outputs = mtcnn_outputs(self.module, torch.from_numpy(pixels).to(self.device))
            return [output.cpu().numpy() for output in outputs]


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep torch to one thread: work this small gains little by more, and on busy cores loses tenfold."""
    import torch

    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(num_threads)


def _as_rgb(image: np.ndarray) -> np.ndarray:
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        kind = image.dtype if isinstance(image, np.ndarray) else type(image).__name__
        raise ValueError(f"Expected uint8 numpy images, got {kind}; scale to 0-255 and call .astype(np.uint8).")
    if image.ndim == 2:
        image = image[..., None]
    if image.ndim != 3 or image.shape[2] not in (1, 3, 4) or 0 in image.shape:
        raise ValueError(
            f"Expected images of shape (height, width, 3), got {image.shape}; pass a sequence of images with "
            "the channels last, e.g. [image] for a single one."
        )
    return np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image[..., :3]


def _resize(image: np.ndarray, width: int, height: int) -> np.ndarray:
    shrinks_a_lot = max(image.shape[0] / height, image.shape[1] / width) > 1.5
    interpolation = cv2.INTER_AREA if shrinks_a_lot else cv2.INTER_LINEAR
    return cv2.resize(image, (width, height), interpolation=interpolation)


def _cut(
    images: list[np.ndarray], boxes: np.ndarray, owners: np.ndarray, *, side: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cut boxes out, each clipped to its image: those boxes that touch it, their owners and crops."""
    height, width = images[0].shape[:2]
    corners = np.clip(np.rint(boxes), 0, [width, height, width, height]).astype(int)
    inside = (corners[:, 2:] > corners[:, :2]).all(axis=1)
    boxes, owners, corners = boxes[inside], owners[inside], corners[inside]
    crops = np.zeros((len(boxes), side, side, 3), dtype=np.uint8)
    for crop, (left, top, right, bottom), owner in zip(crops, corners, owners, strict=True):
        crop[:] = _resize(images[owner][top:bottom, left:right], side, side)
    return boxes, owners, crops


def _shifted(boxes: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """Move the four edges `(K, 4)` by fractions of the box."""
    sizes = boxes[:, 2:] - boxes[:, :2]
    return boxes + shifts * np.tile(sizes, 2)


def _square(boxes: np.ndarray) -> np.ndarray:
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    halves = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, keepdims=True) / 2
    return np.concatenate([centres - halves, centres + halves], axis=1)


def _suppress(
    boxes: np.ndarray, scores: np.ndarray, owners: np.ndarray, *, max_overlap: float, of_smaller: bool = False
) -> np.ndarray:
    """Keep the best of boxes that overlap: indices by falling score.

    The overlap is intersection over union, or over the smaller box if `of_smaller`.
    """
    sizes = areas(boxes)
    order = np.argsort(-scores, kind="stable")
    kept = []
    while len(order):
        best, rest = order[0], order[1:]
        kept.append(best)
        overlaps = np.minimum(boxes[best, 2:], boxes[rest, 2:]) - np.maximum(boxes[best, :2], boxes[rest, :2])
        shared = np.maximum(overlaps, 0).prod(axis=1)
        total = np.minimum(sizes[best], sizes[rest]) if of_smaller else sizes[best] + sizes[rest] - shared
        order = rest[(owners[rest] != owners[best]) | (shared <= max_overlap * total)]
    return np.array(kept, dtype=int)
