"""Draw a prediction onto its video: box, class and heat map of every face."""

import os
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import cast

import cv2
import numpy as np

from ..faces.alignment import place_on_frame, region_of_crop, similarity_transform
from ..language import Language, language_called
from ..prediction import ClipPrediction, FramePrediction
from ..video import DEFAULT_LIMITS, Frame, VideoLimits, VideoWriter, read_frames
from ..video.container import Source
from .colours import Colour, group_colours
from .lettering import FONT, drawable

STILL_SECONDS = 1.0
"""How long a still image is shown."""

_STILL_FRAMES_PER_SECOND = 25.0
# Around a face that is cut out, as share of its longer side.
_MARGIN = 0.3
_INK: Colour = (20, 20, 20)
_PAPER: Colour = (255, 255, 255)
_LEVELS = np.arange(256, dtype=np.uint8)[:, None]
# Viridis: brightness rises with the value for every eye, and no skin has its colours.
_COLOUR_OF_LEVEL = np.ascontiguousarray(cv2.applyColorMap(_LEVELS, cv2.COLORMAP_VIRIDIS)[..., ::-1])


def colour_of_level(level: float) -> Colour:
    """RGB of a value of a heat map, from 0 to 1."""
    red, green, blue = _COLOUR_OF_LEVEL[round(255 * level), 0].tolist()
    return red, green, blue


def write_overlay(
    frames: Source | Iterable[Frame],
    prediction: ClipPrediction,
    output_path: str | os.PathLike[str],
    *,
    sound: Source | None = None,
    heat_map_opacity: float = 0.6,
    language: str = "en",
    max_side: int = 960,
    limits: VideoLimits = DEFAULT_LIMITS,
    progress: Callable[[float], None] | None = None,
) -> None:
    """Write the video again with what was found in it; frames without a face stay as they are.

    One frame is held at a time. A still image becomes a clip of `STILL_SECONDS`. Heat maps are drawn where the
    prediction has them, all on the same scale.

    Args:
        frames: The file that was analysed, or its frames, such as a `FrameSpool` kept them.
        prediction: What was found in it.
        output_path: Where to write, a name ending in `.webm` or `.mp4`.
        sound: The file whose sound is kept; `frames` if that is a file, when left out.
        heat_map_opacity: How much the highest value covers, from 0 to 1; lower values cover less.
        language: In which the labels are, one of `dfer_hf.language.LANGUAGES`.
        max_side: Pixels of the longer side of frames that are read from a file, at most.
        limits: What to refuse of a file, as in the analysis.
        progress: Called after every frame with the share of the video that is done, from 0 to 1.

    Raises:
        ValueError: If the opacity is not within 0 and 1, or the language unknown.
        VideoError: If the file cannot be read, or the output not be written.
    """
    if not 0 <= heat_map_opacity <= 1:
        raise ValueError(f"Expected heat_map_opacity from 0 to 1, got {heat_map_opacity}; 0.6 is usual.")
    spoken, shown = language_called(language), cast("Iterable[Frame]", frames)
    if isinstance(frames, str | os.PathLike | bytes) or hasattr(frames, "read"):
        file = cast("Source", frames)
        sound = file if sound is None else sound
        # What is odd in the file stands in the prediction.
        shown = read_frames(file, limits=limits, max_side=max_side, warn=lambda _: None)
    faces_by_frame: dict[int, list[tuple[str, FramePrediction]]] = defaultdict(list)
    for face in prediction.faces:
        name = f"{face.track_id + 1}: " if len(prediction.faces) > 1 else ""
        for seen in face.frames:
            faces_by_frame[seen.frame_index].append((name, seen))
    colours = group_colours(prediction.faces[0].coarse.probabilities) if prediction.faces else {}
    is_still = prediction.num_frames == 1
    rate = _STILL_FRAMES_PER_SECOND if is_still else prediction.frames_per_second or _STILL_FRAMES_PER_SECOND
    with VideoWriter(output_path, frames_per_second=rate, sound=sound) as writer:
        for frame in shown:
            faces = faces_by_frame[frame.index]
            drawn = _draw_faces(frame, faces, colours, spoken, heat_map_opacity=heat_map_opacity)
            for copy in range(round(STILL_SECONDS * rate) if is_still else 1):
                writer.write(drawn, frame.time_seconds + copy / rate)
            if progress is not None:
                progress(min(1.0, (frame.index + 1) / prediction.num_frames))


def draw_face(
    rgb: np.ndarray, seen: FramePrediction, *, colour: Colour, name: str = "", heat_map_opacity: float = 0.6
) -> None:
    """Draw one face into an image; nothing where the face was not seen.

    Args:
        rgb: Image to draw into, uint8 of shape `(height, width, 3)`.
        seen: The face, its box and points in pixels of this image.
        colour: RGB of the box.
        name: What comes before the class in the label.
        heat_map_opacity: How much the highest value covers, from 0 to 1.
    """
    _draw_box(rgb, seen, colour, heat_map_opacity)
    _draw_label(rgb, seen, colour, _label_of(seen, name), [])


def _draw_box(rgb: np.ndarray, seen: FramePrediction, colour: Colour, heat_map_opacity: float) -> None:
    if seen.box is None:
        return
    if seen.heat_map is not None and seen.points is not None:
        _blend_heat_map(rgb, seen.heat_map, seen.points, heat_map_opacity)
    thickness = max(2, round(min(rgb.shape[:2]) / 240))
    left, top, right, bottom = (round(edge) for edge in seen.box)
    cv2.rectangle(rgb, (left, top), (right, bottom), _INK, thickness + 2, cv2.LINE_AA)
    cv2.rectangle(rgb, (left, top), (right, bottom), colour, thickness, cv2.LINE_AA)


def face_picture(
    frame: Frame, seen: FramePrediction, *, colour: Colour, side: int, heat_map_opacity: float = 0.6
) -> np.ndarray:
    """Cut a face out of its frame, with box and heat map but no words.

    Args:
        frame: The frame.
        seen: The face, which was seen in it.
        colour: RGB of the box.
        side: Pixels of the longer side of the picture.
        heat_map_opacity: How much the highest value covers, from 0 to 1.

    Returns:
        uint8 of shape `(height, width, 3)`.

    Raises:
        ValueError: If the face was not seen.
    """
    if seen.box is None:
        raise ValueError(f"Expected a frame in which the face was seen, got frame {seen.frame_index} without.")
    rgb, shrunk = frame.rgb.copy(), _in_pixels_of(frame, seen)
    _draw_box(rgb, shrunk, colour, heat_map_opacity)
    left, top, right, bottom = shrunk.box or seen.box
    margin = _MARGIN * max(right - left, bottom - top)
    height, width = rgb.shape[:2]
    # A box may reach beyond the picture; one pixel of it is left in any case.
    rows = slice(min(max(0, round(top - margin)), height - 1), max(1, round(bottom + margin)))
    columns = slice(min(max(0, round(left - margin)), width - 1), max(1, round(right + margin)))
    part = rgb[rows, columns]
    scale = side / max(part.shape[:2])
    size = max(1, round(part.shape[1] * scale)), max(1, round(part.shape[0] * scale))
    return np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC))


def _in_pixels_of(frame: Frame, seen: FramePrediction) -> FramePrediction:
    """Give box and points in the pixels of a frame that may be shrunken."""
    box = None if seen.box is None else tuple(edge / frame.scale for edge in seen.box)
    points = None if seen.points is None else seen.points / frame.scale
    return replace(seen, box=box, points=points)


def _draw_faces(
    frame: Frame,
    faces: list[tuple[str, FramePrediction]],
    colours: dict[str, Colour],
    language: Language,
    *,
    heat_map_opacity: float,
) -> np.ndarray:
    rgb = frame.rgb.copy()
    shown = []
    for name, seen in faces:
        if seen.box is None:
            continue
        shrunk = _in_pixels_of(frame, seen)
        colour = _PAPER if seen.coarse is None else colours[seen.coarse.label]
        _draw_box(rgb, shrunk, colour, heat_map_opacity)
        shown.append((shrunk, colour, language.say(_label_of(seen, name))))
    taken: list[tuple[int, int, int]] = []
    # On top of every box.
    for shrunk, colour, text in shown:
        _draw_label(rgb, shrunk, colour, text, taken)
    return rgb


def _blend_heat_map(rgb: np.ndarray, heat_map: np.ndarray, points: np.ndarray, opacity: float) -> None:
    """Blend the map into the part of the image that the crop came from."""
    left, top, right, bottom = region_of_crop(similarity_transform(points), rgb.shape[:2])
    if left >= right or top >= bottom:
        return
    part = rgb[top:bottom, left:right]
    placed = place_on_frame(heat_map, points - np.array([left, top]), part.shape[:2])
    # The square root, so that frames that counted less still show where.
    levels = (np.sqrt(placed.clip(0, 1)) * 255 + 0.5).astype(np.uint8)
    share = np.linspace(0, 1, 256, dtype=np.float32)
    alpha = cv2.LUT(levels, opacity * share * share * (3 - 2 * share))
    part[:] = cv2.blendLinear(part, cv2.applyColorMap(levels, _COLOUR_OF_LEVEL), 1 - alpha, alpha)


def _label_of(seen: FramePrediction, name: str = "") -> str:
    """What is written beside a box: a name, the answer and its group; nothing where there is no answer."""
    if seen.fine is None:
        return ""
    group = "" if seen.coarse is None else f", {seen.coarse.label}"
    return f"{name}{seen.answer} {seen.fine.confidence:.0%}{group}"


def _draw_label(
    rgb: np.ndarray, seen: FramePrediction, colour: Colour, text: str, taken: list[tuple[int, int, int]]
) -> None:
    """Write a label on a dark plate above the box, or where there is room beside the plates in `taken`."""
    if seen.box is None or not text:
        return
    text = drawable(text)
    corner = round(seen.box[0]), round(seen.box[1])
    height, width = rgb.shape[:2]
    font_scale = max(0.45, min(height, width) / 720)
    thickness = max(1, round(font_scale * 1.2))
    (text_width, text_height), below = cv2.getTextSize(text, FONT, font_scale, thickness)
    margin = max(4, text_height // 3)
    plate_width, plate_height = text_width + 3 * margin, text_height + below + margin
    left = max(0, min(corner[0], width - plate_width))
    top = corner[1] - plate_height
    # No room above: inside the box.
    if top < 0:
        top = max(0, min(corner[1], height - plate_height))
    right = left + plate_width
    places = [*range(top, -1, -plate_height), round(seen.box[3])]
    free = (
        place
        for place in places
        if 0 <= place <= height - plate_height
        and not any(left < end and start < right and abs(place - other) < plate_height for start, end, other in taken)
    )
    top = next(free, top)
    taken.append((left, right, top))
    cv2.rectangle(rgb, (left, top), (right, top + plate_height), _INK, cv2.FILLED)
    cv2.rectangle(rgb, (left, top), (left + margin - 1, top + plate_height), colour, cv2.FILLED)
    baseline = (left + 2 * margin, top + margin // 2 + text_height)
    cv2.putText(rgb, text, baseline, FONT, font_scale, _PAPER, thickness, cv2.LINE_AA)
