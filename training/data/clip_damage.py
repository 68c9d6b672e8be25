"""What hides faces of a clip, and what a camera and a codec do to its pixels; on uint8 frames, with OpenCV."""

import cv2
import numpy as np

MOST_FACE = 0.62
"""Least sides of a cover over a face, as a share of the aligned crop; brows to mouth are half of its height."""
LEVELS = np.arange(256, dtype=np.float32)


def draw_texture(size: int, channels: int, generator: np.random.Generator) -> np.ndarray:
    """Draw something that is no face: noise of several sizes, as float32 `(size, size, channels)` around zero."""
    texture = np.zeros((size, size, channels), np.float32)
    roughness = generator.uniform(0.35, 0.9)
    for octave in range(1, 6):
        cells = 2**octave + 1
        grain = generator.standard_normal((cells, cells, channels), dtype=np.float32)
        if generator.random() < 0.7:
            grain = grain.mean(axis=2, keepdims=True).repeat(channels, axis=2)
        enlarged = cv2.resize(grain, (size, size), interpolation=cv2.INTER_CUBIC)
        texture += roughness**octave * enlarged.reshape(texture.shape)
    return texture / max(float(texture.std()), 1e-6)


def hide_background(size: int, channels: int, num_frames: int, generator: np.random.Generator) -> np.ndarray:
    """Frames without a face, uint8 `(num_frames, size, size, channels)`: one texture that drifts."""
    wide = draw_texture(size + 16, channels, generator) * generator.uniform(5, 45) + generator.uniform(20, 235)
    picture = np.clip(wide, 0, 255).astype(np.uint8)
    start, end = generator.integers(0, 17, (2, 2))
    corners = np.rint(np.linspace(start, end, num_frames)).astype(int)
    return np.stack([picture[top : top + size, left : left + size] for top, left in corners])


def cover_faces(frames: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Hold one thing before the face in all frames, brows to mouth: a hand, a sheet, a microphone, a black bar.

    Args:
        frames: Aligned faces, uint8 `(num_frames, size, size, channels)`.
        generator: Source of randomness.
    """
    num_frames, size, _, channels = frames.shape
    axis = np.arange(size, dtype=np.float32) / size
    roundness = generator.uniform(2, 8)
    half = generator.uniform(MOST_FACE / 2, 0.6, 2)
    # A round cover has to be larger to hide as much.
    half *= 2 ** (1 / roundness) if roundness < 4 else 1.1
    middle = np.array([0.5, 0.62]) + generator.uniform(-0.04, 0.04, 2)
    away = (np.abs(axis - middle[0]) / half[0]) ** roundness
    away = away + ((np.abs(axis - middle[1]) / half[1]) ** roundness)[:, None]
    softness = generator.uniform(0.01, 0.12)
    share = np.clip((1 + softness - away) / softness, 0, 1).astype(np.float32)[..., None]

    tone = generator.uniform(0, 255, channels)
    if generator.random() < 0.5:
        tone = frames.mean(axis=(0, 1, 2)) * generator.uniform(0.6, 1.3)
    rough = generator.uniform(2, 30) if generator.random() < 0.7 else 0.0
    cover = np.clip(tone.astype(np.float32) + np.float32(rough) * draw_texture(size, channels, generator), 0, 255)
    drift = np.linspace(0, 1, num_frames)[:, None] * generator.uniform(-0.03, 0.03, 2) * size
    hidden = np.empty_like(frames)
    for frame, (right, down), out in zip(frames, np.rint(drift).astype(int), hidden, strict=True):
        here, seen = np.roll(share, (down, right), (0, 1)), np.roll(cover, (down, right), (0, 1))
        out[:] = frame + (seen - frame) * here
    return hidden


def damage(frames: np.ndarray, generator: np.random.Generator, strength: float) -> np.ndarray:
    """Give a clip one light, sharpness, resolution, grain and compression, and a slow flicker.

    Args:
        frames: uint8 `(num_frames, size, size, channels)`, one channel or three.
        generator: Source of randomness.
        strength: 0 leaves the frames as they are; 1 for training.
    """
    if strength == 0:
        return frames
    num_frames, size, _, channels = frames.shape
    gamma, contrast = np.exp(generator.normal(0, [0.25, 0.2]) * strength)
    brightness = generator.normal(0, 25 * strength)
    mean = 255 * (max(float(frames.mean()), 1.0) / 255) ** gamma
    curve = (255 * (LEVELS / 255) ** gamma - mean) * contrast + mean + brightness
    steps = np.interp(np.arange(num_frames), np.linspace(0, num_frames - 1, 4), generator.normal(0, 5 * strength, 4))
    side = np.linspace(-1, 1, size, dtype=np.float32)
    right, down = generator.normal(0, 25 * strength, 2)
    ramp = np.repeat((right * side + down * side[:, None])[..., None], channels, axis=2)
    blur, sharpen = generator.uniform(0, 1.1) * strength, generator.uniform(0, 1.2) * strength
    is_soft = generator.random() < 0.5
    lowest = generator.uniform(24, 112) if generator.random() < 0.5 * strength else size
    grain = generator.uniform(0, 10) * strength if generator.random() < 0.4 else 0.0
    noise = generator.standard_normal((2 * size, size, channels), dtype=np.float32) * grain
    begins = generator.integers(0, size, num_frames)
    out = np.empty_like(frames)
    for frame, step, begin, place in zip(frames, steps, begins, out, strict=True):
        picture = cv2.LUT(frame, np.clip(curve + step, 0, 255).astype(np.uint8)).reshape(frame.shape)
        change = ramp + noise[begin : begin + size] if grain else ramp
        picture = cv2.add(picture, change.reshape(picture.shape), dtype=cv2.CV_8U).reshape(frame.shape)
        if lowest < size:
            small = cv2.resize(picture, (int(lowest), int(lowest)), interpolation=cv2.INTER_AREA)
            picture = cv2.resize(small, (size, size), interpolation=cv2.INTER_LINEAR).reshape(frame.shape)
        place[:] = picture
    tall = out.reshape(-1, size, channels)
    if is_soft and blur > 0.3:
        tall = cv2.GaussianBlur(tall, (0, 0), blur * size / 112).reshape(tall.shape)
    elif not is_soft and sharpen > 0.1:
        soft = cv2.GaussianBlur(tall, (3, 3), 0).reshape(tall.shape)
        tall = cv2.addWeighted(tall, 1 + sharpen, soft, -sharpen, 0).reshape(tall.shape)
    if generator.random() < 0.7 * strength:
        tall = compress(tall, int(generator.uniform(15, 90)))
    return tall.reshape(frames.shape)


def compress(picture: np.ndarray, quality: int) -> np.ndarray:
    """Compress a picture `(height, width, channels)` as JPEG and read it again."""
    data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    flags = cv2.IMREAD_GRAYSCALE if picture.shape[2] == 1 else cv2.IMREAD_COLOR
    read = cv2.imdecode(data, flags)
    return read.reshape(picture.shape)  # pyright: ignore[reportOptionalMemberAccess]  it was just written
