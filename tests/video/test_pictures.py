"""Pictures of every kind: still, animated, turned, cut off and of several pages."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from dfer_hf.video import VideoLimits, VideoTooLargeError, probe, read_frames

from . import make_clips as clips


def read(source, **options):
    """Read everything, with the warnings."""
    said = []
    return list(read_frames(source, warn=said.append, **options)), said


def test_a_picture_of_two_that_a_camera_made_is_a_still():
    stream, pictures = BytesIO(), [Image.fromarray(clips.numbered_frame(index)) for index in (3, 9)]
    pictures[0].save(stream, "MPO", save_all=True, append_images=pictures[1:])
    (frame,), said = read(stream.getvalue())
    assert clips.number_of(frame.rgb) == 3
    assert said == []


@pytest.mark.parametrize("image_format", ["WEBP", "PNG", "AVIF", "GIF"])
def test_animated_pictures_are_read_as_sequences(image_format):
    stream, pictures = BytesIO(), [Image.fromarray(clips.numbered_frame(index)) for index in range(0, 30, 6)]
    options = {} if image_format == "GIF" else {"lossless": True} if image_format == "WEBP" else {"quality": 100}
    pictures[0].save(
        stream, image_format, save_all=True, append_images=pictures[1:], duration=[100, 200, 50, 100, 100], **options
    )
    info, (frames, said) = probe(stream.getvalue()), read(stream.getvalue())
    assert (info.num_frames, info.is_still, said) == (5, False, [])
    assert [clips.number_of(frame.rgb) for frame in frames] == list(range(0, 30, 6))
    assert [frame.time_seconds for frame in frames] == pytest.approx([0, 0.1, 0.3, 0.35, 0.45])
    with pytest.raises(VideoTooLargeError):
        read(stream.getvalue(), limits=VideoLimits(max_seconds=0.3))


def test_the_cover_of_an_animated_png_is_no_frame_of_it():
    stream, pictures = BytesIO(), [Image.fromarray(clips.numbered_frame(index)) for index in range(0, 30, 6)]
    pictures[0].save(stream, "PNG", save_all=True, append_images=pictures[1:], duration=100, default_image=True)
    assert probe(stream.getvalue()).num_frames == 4
    assert [clips.number_of(frame.rgb) for frame in read(stream.getvalue())[0]] == list(range(6, 30, 6))


def test_an_animation_that_breaks_off_gives_its_start_and_a_warning():
    stream, noise = BytesIO(), np.random.default_rng(0).integers(0, 256, (6, 48, 64, 3), dtype=np.uint8)
    pictures = [Image.fromarray(picture) for picture in noise]
    pictures[0].save(stream, "PNG", save_all=True, append_images=pictures[1:], duration=100)
    frames, said = read(stream.getvalue()[: len(stream.getvalue()) * 2 // 3])
    assert 2 <= len(frames) <= 4
    assert len(said) == 1
    assert "Expected 6 pictures in the video" in said[0]


def test_a_jpeg_without_its_end_is_shown_as_far_as_it_goes():
    whole = clips.encode(".jpg", clips.numbered_frame(9, 200, 150))
    for missing in (2, len(whole) // 3):
        (frame,), said = read(whole[:-missing])
        assert frame.rgb.shape == (150, 200, 3)
        assert clips.number_of(frame.rgb[:40]) == 9
        assert len(said) == 1
        assert "whose end is missing" in said[0]


def test_pages_after_the_first_are_told_of():
    stream, pictures = BytesIO(), [Image.fromarray(clips.numbered_frame(index)) for index in (3, 9)]
    pictures[0].save(stream, "TIFF", save_all=True, append_images=pictures[1:])
    (frame,), said = read(stream.getvalue())
    assert clips.number_of(frame.rgb) == 3
    assert len(said) == 1
    assert "only the first was taken" in said[0]


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_of_a_photo_is_undone(image_format, orientation):
    stream, exif = BytesIO(), Image.Exif()
    exif[274] = orientation
    options = {"tiffinfo": {274: orientation}} if image_format == "TIFF" else {"exif": exif}
    Image.fromarray(clips.four_corners(0)).save(stream, image_format, **options)
    data = stream.getvalue()
    if image_format == "PNG":
        data = data[:33] + clips.png_chunk(b"eXIf", clips.exif(orientation)) + data[33:]
    info, ((frame,), _) = probe(data), read(data)
    assert frame.rgb.shape == (info.height, info.width, 3)
    expected = ("RGBW", "GRWB", "WBGR", "BWRG", "RBGW", "BRWG", "WGBR", "GWRB")[orientation - 1]
    assert clips.name_corners(frame.rgb) == expected


@pytest.mark.parametrize(
    ("mode", "image_format"),
    [
        ("CMYK", "JPEG"),
        ("P", "PNG"),
        ("L", "AVIF"),
        ("1", "PNG"),
        ("LA", "PNG"),
        ("YCbCr", "JPEG"),
        ("RGB", "JPEG2000"),
        ("RGB", "PPM"),
        ("RGB", "ICO"),
        ("F", "TIFF"),
        ("I;16", "TIFF"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_stills_of_every_kind_become_rgb(mode, image_format):
    grey = np.full((64, 64), 156, np.uint8)
    stream = BytesIO()
    if mode == "I;16":
        picture = Image.fromarray(grey.astype(np.uint16) << 8)
    else:
        picture = (
            Image.fromarray(grey).convert(mode)
            if mode != "CMYK"
            else Image.fromarray(grey).convert("RGB").convert("CMYK")
        )
    options = {"transparency": bytes(range(256))} if mode == "P" else {}
    picture.save(stream, image_format, **options)
    (frame,), said = read(stream.getvalue())
    assert frame.rgb.dtype == np.uint8
    assert said == []
    assert frame.rgb[16:48, 16:48].mean() == pytest.approx(156, abs=100 if mode == "1" else 3)
