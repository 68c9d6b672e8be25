import sys

import cv2
import numpy as np
import pytest
import torch

import dfer_hf
from dfer_hf.faces import Detection, NoFaceFoundError, video_processing_dfer
from dfer_hf.faces.alignment import ARCFACE_TEMPLATE, align
from dfer_hf.faces.crop_stream import crop_faces, crop_main_face
from dfer_hf.video import Frame, read_frames, uniform_indices

from ..video.make_clips import write_clip


class KnownFaces:
    """Answers with what is written down for each frame, told by the frame's first pixel."""

    settings = {"detector": "known"}

    def __init__(self, faces_by_frame):
        self.faces_by_frame = faces_by_frame

    def detect(self, images):
        return [self.faces_by_frame[int(image[0, 0, 0])] for image in images]


def face(left, size):
    points = ARCFACE_TEMPLATE * (size / 112) + (left, 20)
    return Detection((left, 20.0, left + size, 20.0 + size), points, 0.99)


def numbered(count, *, scale=1.0):
    pictures = np.random.default_rng(0).integers(0, 256, (1, 120, 300, 3), dtype=np.uint8).repeat(count, axis=0)
    pictures[:, 0, 0, 0] = np.arange(count)
    return [Frame(index, index * 0.25, rgb, scale) for index, rgb in enumerate(pictures)]


def test_every_face_of_every_frame_is_cut_out_and_placed_in_the_original_picture():
    frames = numbered(3, scale=2.0)
    people = [face(20, 60), face(180, 50)]
    cropped = list(crop_faces(frames, KnownFaces([people] * 3)))
    assert [frame.index for frame in cropped] == [0, 1, 2]
    for frame, found in zip(frames, cropped, strict=True):
        assert [seen.track_id for seen in found.faces] == [0, 1]
        for seen, person in zip(found.faces, people, strict=True):
            assert np.array_equal(seen.crop, align(frame.rgb, person.points))
            assert seen.box == pytest.approx([2 * edge for edge in person.box])
            assert seen.points == pytest.approx(2 * person.points)


def test_the_main_face_is_the_one_seen_most_and_never_another_persons():
    frames = numbered(4)
    person, other = [face(100, 60), face(110, 58), face(120, 66), face(130, 55)], face(10, 70)
    faces = [[person[0], other], [other, person[1]], [person[2]], [person[3]]]
    crops = crop_main_face(lambda: frames, lambda seen: seen, KnownFaces(faces))
    assert np.array_equal(crops, [align(frames[index].rgb, person[index].points) for index in range(4)])


def test_only_frames_with_the_face_are_chosen_from():
    frames = numbered(6)
    seen = face(100, 60)
    asked = []

    def choose(indices):
        asked.append(indices.tolist())
        return indices[[0, 1, 1]]

    crops = crop_main_face(lambda: frames, choose, KnownFaces([[], [seen], [seen], [], [], []]))
    assert asked == [[1, 2]]
    assert np.array_equal(crops, [align(frames[index].rgb, seen.points) for index in (1, 2, 2)])


def test_a_clip_without_a_face_is_refused():
    with pytest.raises(NoFaceFoundError, match="2 frames"):
        crop_main_face(lambda: numbered(2), lambda seen: seen, KnownFaces([[], []]))


# --------------------------------------------------------------------------------------------- through the processor


@pytest.fixture(scope="module")
def processor():
    return dfer_hf.DferVideoProcessor(num_frames=4)


@pytest.mark.parametrize("name", ["face.webm", "short.webm"])
def test_a_file_becomes_what_its_aligned_faces_become(processor, clips, name):
    frames = crop_faces(read_frames(clips / name), dfer_hf.faces.MtcnnFaceDetector())
    crops = [frame.faces[0].crop for frame in frames]
    crops = [crops[index] for index in uniform_indices(len(crops), 4)]
    expected = processor(np.stack(crops), input_data_format="channels_last", return_tensors="pt")
    found = processor(str(clips / name), return_tensors="pt")
    assert torch.equal(found["pixel_values_videos"], expected["pixel_values_videos"])


def test_files_make_a_batch(processor, clips):
    paths = [str(clips / "face.webm"), str(clips / "short.webm")]
    together = processor(paths, return_tensors="pt")["pixel_values_videos"]
    assert together.shape == (2, 4, 3, 112, 112)
    assert torch.equal(together[1:], processor(paths[1], return_tensors="pt")["pixel_values_videos"])


def test_whole_frames_are_cropped_when_that_is_asked_for(processor, clips):
    """In every frame, as nobody says how far apart they are."""
    detector = dfer_hf.faces.MtcnnFaceDetector()
    frames = np.stack([frame.rgb for frame in read_frames(clips / "face.webm")])[::6]
    crops = [align(frame, detector.detect([frame])[0][0].points) for frame in frames]
    expected = processor(np.stack(crops), input_data_format="channels_last", return_tensors="pt")
    found = processor(frames, do_crop_faces=True, input_data_format="channels_last", return_tensors="pt")
    difference = found["pixel_values_videos"] - expected["pixel_values_videos"]
    # Every second frame is looked at near the faces of its neighbours, which moves points as a shift by 5 pixels does.
    assert difference.abs().mean(dim=(2, 3, 4)).max() < 0.25
    assert difference[:, [0, 1, 3]].abs().mean(dim=(2, 3, 4)).max() < 0.02


def test_files_of_crops_are_left_as_they_are_when_that_is_said(tmp_path):
    path = write_clip(tmp_path / "crops.avi", width=112, height=112)
    processor = dfer_hf.DferVideoProcessor(num_frames=4, do_crop_faces=False)
    frames = np.stack([frame.rgb for frame in read_frames(path)])
    frames = frames[uniform_indices(len(frames), 4)]
    expected = processor(frames, input_data_format="channels_last", return_tensors="pt")
    found = processor(str(path), return_tensors="pt")
    assert torch.equal(found["pixel_values_videos"], expected["pixel_values_videos"])


def test_files_of_whole_frames_are_not_taken_for_crops(clips):
    with pytest.raises(ValueError, match="square"):
        dfer_hf.DferVideoProcessor(do_crop_faces=False)(str(clips / "short.webm"))


@pytest.mark.parametrize("name", ["faceless.webm", "text.mp4", "nowhere.mp4"])
def test_a_file_without_a_face_or_frames_is_refused(processor, clips, name):
    with pytest.raises(ValueError, match="Expected"):
        processor(str(clips / name))


def test_addresses_are_refused(processor):
    with pytest.raises(ValueError, match=r"clip\.mp4"):
        processor("https://example.org/clip.mp4")


def test_checkpoints_with_another_alignment_crop_nothing(clips):
    with pytest.raises(ValueError, match="openface"):
        dfer_hf.DferVideoProcessor(alignment="openface")(str(clips / "short.webm"))


def test_without_facenet_the_error_names_it(processor, clips, monkeypatch):
    monkeypatch.setitem(sys.modules, "facenet_pytorch.models.mtcnn", None)
    video_processing_dfer._mtcnn.cache_clear()
    with pytest.raises(ImportError, match=r"pip install facenet-pytorch==2\.5\.3"):
        processor(str(clips / "short.webm"))
    video_processing_dfer._mtcnn.cache_clear()


def test_a_frame_that_fills_a_square_is_still_searched(processor, scene, tmp_path, write_clip):
    """Files are whole frames whatever their shape: a square one is no crop."""
    square = cv2.copyMakeBorder(scene(20), 20, 20, 0, 0, cv2.BORDER_REPLICATE)
    path = write_clip(tmp_path / "square.webm", [square] * 2)
    as_crop = processor(str(path), do_crop_faces=False, return_tensors="pt")["pixel_values_videos"]
    cropped = processor(str(path), return_tensors="pt")["pixel_values_videos"]
    assert (as_crop - cropped).abs().mean() > 0.1
