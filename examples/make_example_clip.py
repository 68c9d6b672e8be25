"""Make the example clip: a portrait that comes alive a little, so that every part of the answer has something to show.

The photograph is NASA's portrait of Eileen Collins, public domain, as scikit-image carries it. The camera drifts, the
light changes, a smile fades and returns, and a card hides the face for a second. Needs scikit-image for the
photograph, and imageio-ffmpeg because OpenCV's encoder leaves no choice of size.

    python examples/make_example_clip.py examples/astronaut.webm
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
from imageio_ffmpeg import write_frames
from skimage import data

FRAMES_PER_SECOND = 25.0
NUM_FRAMES = 140
WIDTH, HEIGHT = 640, 480
FACE_CENTRE = np.array([224.0, 120.0])
MOUTH_CORNERS = np.array([(201.7, 139.6), (245.5, 141.3)])
CARD_COLOUR = (52, 72, 84)
# When the smile starts to fade, is gone, starts to return and is back, in seconds.
SMILE_SECONDS = (1.0, 1.9, 4.3, 5.1)
# When the card starts to come, hides the face, starts to go and is gone.
CARD_SECONDS = (2.35, 2.6, 3.7, 3.95)


def trapezium(time_seconds: float, corners: tuple[float, float, float, float]) -> float:
    """Rise smoothly from 0 to 1 between the first two corners and fall between the last two."""
    rising = np.interp(time_seconds, corners[:2], (0.0, 1.0))
    falling = np.interp(time_seconds, corners[2:], (1.0, 0.0))
    share = min(rising, falling)
    return float(share * share * (3 - 2 * share))


def relax_mouth(rgb: np.ndarray, amount: float) -> np.ndarray:
    """Lower the corners of the mouth, draw them together and close the lips; `amount` from 0 to 1."""
    height, width = rgb.shape[:2]
    ys, xs = np.mgrid[:height, :width].astype(np.float32)
    middle = MOUTH_CORNERS.mean(axis=0)
    source_x, source_y = xs.copy(), ys.copy()
    for corner in MOUTH_CORNERS:
        outwards = np.sign(corner[0] - middle[0])
        near = np.exp(-(((xs - corner[0]) / 11) ** 2) - ((ys - corner[1]) / 11) ** 2)
        source_x += amount * 3.5 * outwards * near
        source_y -= amount * 5.5 * near
    lips = np.exp(-(((xs - middle[0]) / 17) ** 4) - ((ys - middle[1] - 4) / 9) ** 2)
    source_y += amount * 0.9 * lips * (ys - middle[1] - 4)
    return cv2.remap(rgb, source_x, source_y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


def shoot(rgb: np.ndarray, time_seconds: float) -> np.ndarray:
    """Take the picture that a slowly drifting camera sees under slowly changing light."""
    zoom = 2.4 + 0.1 * np.sin(0.9 * time_seconds)
    turn = np.deg2rad(2.0 * np.sin(0.8 * time_seconds + 0.5))
    drift = np.array([6 * np.sin(1.1 * time_seconds), 3 * np.sin(0.7 * time_seconds + 1)])
    rotation = zoom * np.array([(np.cos(turn), -np.sin(turn)), (np.sin(turn), np.cos(turn))])
    # Higher than the face: the detector takes the folds of the collar for another.
    shift = np.array([WIDTH / 2, HEIGHT / 2]) - rotation @ (FACE_CENTRE - (0, 17) + drift)
    view = cv2.warpAffine(
        rgb, np.column_stack([rotation, shift]), (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT
    )
    light = 1 + 0.1 * np.sin(1.3 * time_seconds)
    warmth = 0.03 * np.sin(0.9 * time_seconds)
    gains = light * np.array([1 + warmth, 1.0, 1 - warmth])
    return np.clip(view * gains, 0, 255).astype(np.uint8)


def hide_with_card(rgb: np.ndarray, amount: float) -> np.ndarray:
    """Slide a plain card up in front of the face; `amount` from 0 to 1."""
    if amount == 0:
        return rgb
    shown = rgb.copy()
    top = round(HEIGHT - amount * (HEIGHT - 15))
    cv2.rectangle(shown, (WIDTH // 2 - 190, top), (WIDTH // 2 + 190, top + 450), CARD_COLOUR, thickness=-1)
    cv2.rectangle(shown, (WIDTH // 2 - 190, top), (WIDTH // 2 + 190, top + 450), (38, 54, 64), thickness=4)
    return shown


def main() -> None:
    """Write the clip to the path that is given."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("output", type=Path)
    output = parser.parse_args().output
    portrait = data.astronaut()
    encoder = ["-deadline", "best", "-auto-alt-ref", "1", "-lag-in-frames", "20", "-g", "50"]
    sink = write_frames(
        str(output),
        (WIDTH, HEIGHT),
        fps=FRAMES_PER_SECOND,
        codec="libvpx",
        bitrate="500k",
        output_params=encoder,
        macro_block_size=2,
    )
    sink.send(None)
    for index in range(NUM_FRAMES):
        time_seconds = index / FRAMES_PER_SECOND
        relaxed = relax_mouth(portrait, trapezium(time_seconds, SMILE_SECONDS))
        shown = hide_with_card(shoot(relaxed, time_seconds), trapezium(time_seconds, CARD_SECONDS))
        sink.send(np.ascontiguousarray(shown))
    sink.close()


if __name__ == "__main__":
    main()
