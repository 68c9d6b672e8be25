import sys

import cv2
import numpy as np
import pytest
import torch

import dfer_hf
from dfer_hf.faces import Detection, NoFaceFoundError, clip_crops
from dfer_hf.faces.alignment import ARCFACE_TEMPLATE, align
from dfer_hf.faces.clip_crops import crop_largest_face, read_chosen_frames
from dfer_hf.video import read_frames, uniform_indices

from ..video.make_clips import NUM_FRAMES, noisy_clip, rotate_mp4, write_clip


class KnownFaces:
    """Answers with what is written down for each frame, told by the frame's first pixel."""

    def __init__(self, faces_by_frame):
        self.faces_by_frame = faces_by_frame

    def detect(self, images):
        return [self.faces_by_frame[int(image[0, 0, 0])] for image in images]


def face(left, size):
    points = ARCFACE_TEMPLATE * (size / 112) + (left, 20)
    return Detection((left, 20.0, left + size, 20.0 + size), points, 0.9)


def numbered(count):
    frames = np.random.default_rng(0).integers(0, 256, (count, 120, 300, 3), dtype=np.uint8)
    frames[:, 0, 0, 0] = np.arange(count)
    return frames


def choose_all(num_frames, _rate):
    return range(num_frames)


@pytest.mark.parametrize("suffix", [".mp4", ".webm", ".mkv", ".avi"])
def test_chosen_frames_are_those_the_reader_gives(tmp_path, suffix):
    path = write_clip(tmp_path / f"clip{suffix}")
    whole = np.stack([frame.rgb for frame in read_frames(path)])
    asked = []

    def choose(num_frames, frames_per_second):
        asked.append((num_frames, frames_per_second))
        return [0, 7, 7, num_frames - 1]

    frames, indices = read_chosen_frames(str(path), choose)
    assert asked[0][0] == len(whole) == NUM_FRAMES
    assert asked[0][1] == pytest.approx(25, abs=0.5)
    assert indices.tolist() == [0, 7, 7, NUM_FRAMES - 1]
    assert np.array_equal(frames, whole[indices])


def test_sideways_files_are_turned_upright(tmp_path):
    path = rotate_mp4(write_clip(tmp_path / "clip.mp4"))
    frames, _ = read_chosen_frames(str(path), choose_all)
    assert np.array_equal(frames, np.stack([frame.rgb for frame in read_frames(path)]))
    assert frames.shape[1:] == (64, 48, 3)


def test_damage_in_the_middle_does_not_end_a_file(tmp_path):
    path = noisy_clip(tmp_path / "clip.avi")
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 3000] = bytes(3000)
    path.write_bytes(data)
    with pytest.warns(match="could not be decoded"):
        num_readable = len(list(read_frames(path)))
    assert len(read_chosen_frames(str(path), choose_all)[0]) == num_readable > NUM_FRAMES // 2 + 3


def test_large_frames_are_shrunk_as_the_predictor_shrinks_them(tmp_path):
    path = write_clip(tmp_path / "clip.mp4", num_frames=2, width=1600, height=900)
    frames, _ = read_chosen_frames(str(path), choose_all)
    assert frames.shape == (2, 720, 1280, 3)
    assert np.array_equal(frames, np.stack([frame.rgb for frame in read_frames(path, max_side=1280)]))


@pytest.mark.parametrize("content", [b"", b"no video\n" * 50])
def test_a_file_without_frames_is_refused(tmp_path, content):
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"none can be decoded of .*clip\.mp4"):
        read_chosen_frames(str(path), choose_all)


def test_the_largest_face_is_followed_and_never_another_persons():
    frames = numbered(4)
    person, other = [face(100, 60), face(110, 50), face(120, 70), face(130, 40)], face(10, 55)
    faces = [[person[0], other], [other, person[1]], [person[2], other], [other, person[3]]]
    crops = crop_largest_face(frames, KnownFaces(faces))
    assert np.array_equal(crops, [align(frames[index], person[index].points) for index in range(4)])


def test_frames_without_the_person_show_the_nearest_crop():
    frames = numbered(6)
    seen, stranger = face(100, 60), face(10, 20)
    crops = crop_largest_face(frames, KnownFaces([[stranger], [seen], [], [stranger], [seen], []]))
    alone = {index: align(frames[index], seen.points) for index in (1, 4)}
    assert np.array_equal(crops, [alone[index] for index in (1, 1, 1, 4, 4, 4)])


def test_a_clip_without_a_face_is_refused():
    with pytest.raises(NoFaceFoundError, match="2 frames"):
        crop_largest_face(numbered(2), KnownFaces([[], []]))


def test_repeated_frames_are_searched_once():
    searched = []

    class Counting(KnownFaces):
        def detect(self, images):
            searched.extend(images)
            return super().detect(images)

    frames = numbered(2)[[0, 0, 0, 1]]
    crops = crop_largest_face(frames, Counting([[face(100, 60)], [face(100, 60)]]))
    assert len(searched) == 2
    assert np.array_equal(crops[0], crops[2])


# --------------------------------------------------------------------------------------------- through the processor


@pytest.fixture(scope="module")
def processor():
    return dfer_hf.DferVideoProcessor(num_frames=4)


@pytest.mark.parametrize("name", ["face.webm", "short.webm"])
def test_a_file_becomes_what_its_aligned_faces_become(processor, clips, name):
    detector = dfer_hf.faces.MtcnnFaceDetector()
    frames = [frame.rgb for frame in read_frames(clips / name)]
    crops = []
    for index in uniform_indices(len(frames), 4):
        (faces,) = detector.detect([frames[index]])
        crops.append(align(frames[index], faces[0].points))
    expected = processor(np.stack(crops), input_data_format="channels_last", return_tensors="pt")
    found = processor(str(clips / name), return_tensors="pt")
    assert torch.equal(found["pixel_values_videos"], expected["pixel_values_videos"])


def test_files_make_a_batch(processor, clips):
    paths = [str(clips / "face.webm"), str(clips / "short.webm")]
    together = processor(paths, return_tensors="pt")["pixel_values_videos"]
    assert together.shape == (2, 4, 3, 112, 112)
    assert torch.equal(together[1:], processor(paths[1], return_tensors="pt")["pixel_values_videos"])


def test_whole_frames_are_cropped_when_that_is_asked_for(processor, clips):
    frames = np.stack([frame.rgb for frame in read_frames(clips / "face.webm")])
    frames = frames[uniform_indices(len(frames), 4)]
    by_array = processor(frames, do_crop_faces=True, input_data_format="channels_last", return_tensors="pt")
    by_file = processor(str(clips / "face.webm"), return_tensors="pt")
    assert torch.equal(by_array["pixel_values_videos"], by_file["pixel_values_videos"])


def test_files_of_crops_are_left_as_they_are_when_that_is_said(tmp_path):
    path = write_clip(tmp_path / "crops.avi", width=112, height=112)
    processor = dfer_hf.DferVideoProcessor(num_frames=4, do_crop_faces=False)
    frames, _ = read_chosen_frames(str(path), lambda count, _rate: uniform_indices(count, 4))
    expected = processor(frames, input_data_format="channels_last", return_tensors="pt")
    found = processor(str(path), return_tensors="pt")
    assert torch.equal(found["pixel_values_videos"], expected["pixel_values_videos"])


def test_files_of_whole_frames_are_not_taken_for_crops(clips):
    with pytest.raises(ValueError, match="square"):
        dfer_hf.DferVideoProcessor(do_crop_faces=False)(str(clips / "short.webm"))


@pytest.mark.parametrize("name", ["faceless.webm", "text.mp4", "nowhere.mp4"])
def test_a_file_without_a_face_or_frames_is_refused(processor, clips, name):
    with pytest.raises(ValueError, match="Expected a"):
        processor(str(clips / name))


def test_addresses_are_refused(processor):
    with pytest.raises(ValueError, match="Download it first"):
        processor("https://example.org/clip.mp4")


def test_checkpoints_with_another_alignment_crop_nothing(clips):
    with pytest.raises(ValueError, match="openface"):
        dfer_hf.DferVideoProcessor(alignment="openface")(str(clips / "short.webm"))


def test_without_facenet_the_error_names_it(processor, clips, monkeypatch):
    monkeypatch.setitem(sys.modules, "facenet_pytorch.models.mtcnn", None)
    clip_crops._mtcnn.cache_clear()
    with pytest.raises(ImportError, match=r"pip install facenet-pytorch==2\.5\.3"):
        processor(str(clips / "short.webm"))
    clip_crops._mtcnn.cache_clear()


def test_a_frame_that_fills_a_square_is_still_searched(processor, scene, tmp_path, write_clip):
    """Files are whole frames whatever their shape: a square one is no crop."""
    square = cv2.copyMakeBorder(scene(20), 20, 20, 0, 0, cv2.BORDER_REPLICATE)
    path = write_clip(tmp_path / "square.webm", [square] * 2)
    as_crop = processor(str(path), do_crop_faces=False, return_tensors="pt")["pixel_values_videos"]
    cropped = processor(str(path), return_tensors="pt")["pixel_values_videos"]
    assert (as_crop - cropped).abs().mean() > 0.1
