import cv2
import numpy as np
import pytest

from dfer_hf.faces.alignment import ARCFACE_TEMPLATE
from training.datasets.ferplus import load_ferplus

from ..conftest import SEVEN, drawing, write_corpus

STILL = drawing(0, 0)


def test_votes_and_labels_are_the_seven_classes_by_name(tmp_path):
    write_corpus(
        tmp_path,
        [("train", {emotion: 6, "contempt": 2, "unknown": 1}, drawing(i, i)) for i, emotion in enumerate(SEVEN)],
    )
    faces = load_ferplus(tmp_path, "train")
    assert faces.labels.tolist() == list(range(7))
    np.testing.assert_allclose(faces.votes, np.eye(7))


def test_votes_are_shares_among_the_seven(tmp_path):
    write_corpus(tmp_path, [("train", {"anger": 5, "fear": 3, "sadness": 2, "contempt": 1}, STILL)])
    faces = load_ferplus(tmp_path, "train")
    np.testing.assert_allclose(faces.votes, [[0, 0.2, 0, 0.5, 0, 0, 0.3]])
    assert faces.votes.dtype == np.float32
    assert faces.labels.tolist() == [3]


@pytest.mark.parametrize(
    "votes",
    [
        {"happiness": 5, "surprise": 5},
        {"happiness": 4, "contempt": 4, "fear": 2},
        {"contempt": 6, "happiness": 4},
        {"unknown": 6, "happiness": 4},
        {"NF": 10},
        {},
    ],
    ids=["tie", "tie with contempt", "contempt", "unknown", "not a face", "no votes"],
)
def test_faces_without_one_of_the_seven_as_majority_are_left_out(tmp_path, votes):
    write_corpus(tmp_path, [("train", votes, STILL), ("train", {"fear": 10}, drawing(6, 1))])
    faces = load_ferplus(tmp_path, "train")
    assert faces.labels.tolist() == [6]
    np.testing.assert_array_equal(faces.images[0], drawing(6, 1))


def test_each_split_has_its_own_faces_with_their_points(tmp_path):
    faces = [
        ("train", {"happiness": 9}, drawing(0, 0)),
        ("valid", {"sadness": 9}, drawing(1, 1)),
        ("train", {"neutral": 9}, drawing(2, 2)),
    ]
    # In another order than the labels.
    write_corpus(tmp_path, faces, landmarks_for=[2, 0, 1])
    train, valid = load_ferplus(tmp_path, "train"), load_ferplus(tmp_path, "valid")
    assert (len(train), len(valid)) == (2, 1)
    assert train.images.shape == (2, 48, 48)
    assert train.images.dtype == np.uint8
    np.testing.assert_array_equal(train.images, [drawing(0, 0), drawing(2, 2)])
    np.testing.assert_array_equal(valid.images, [drawing(1, 1)])
    for points, shift in ((train.points[0], -1), (valid.points[0], 0), (train.points[1], 1)):
        np.testing.assert_allclose(points, ARCFACE_TEMPLATE * (48 / 112) + shift, atol=1e-4)


def test_a_subset_keeps_everything_together(tmp_path):
    write_corpus(tmp_path, [("train", {emotion: 9}, drawing(i, i)) for i, emotion in enumerate(SEVEN)])
    faces = load_ferplus(tmp_path, "train")
    some = faces.subset(range(0, 7, 3))
    assert some.labels.tolist() == [0, 3, 6]
    for name in ("images", "points", "votes"):
        np.testing.assert_array_equal(getattr(some, name), getattr(faces, name)[[0, 3, 6]])


@pytest.mark.parametrize("name", ["labels.csv", "train.zip", "landmarks68_pseudo.npz"])
def test_a_missing_file_is_named(tmp_path, name):
    write_corpus(tmp_path, [("train", {"fear": 9}, STILL)])
    (tmp_path / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"Expected {name} in .*{tmp_path.name}"):
        load_ferplus(tmp_path, "train")


def test_a_split_that_does_not_exist_is_named(tmp_path):
    write_corpus(tmp_path, [("train", {"fear": 9}, STILL)])
    with pytest.raises(ValueError, match=r"Expected faces of the split 'valid' in labels.csv"):
        load_ferplus(tmp_path, "valid")


def test_a_face_without_landmarks_is_named(tmp_path):
    names = write_corpus(tmp_path, [("train", {"fear": 9}, STILL)] * 3, landmarks_for=[0])
    with pytest.raises(ValueError, match=f"Expected landmarks for every face, but {names[1]} and 1 more"):
        load_ferplus(tmp_path, "train")


def test_a_missing_image_is_named(tmp_path):
    names = write_corpus(tmp_path, [("train", {"fear": 9}, STILL), *[("train", {"fear": 9}, None)] * 2])
    with pytest.raises(ValueError, match=f"Expected every face in train.zip, but {names[1]} and 1 more are not"):
        load_ferplus(tmp_path, "train")


def test_an_image_of_another_size_is_named(tmp_path):
    names = write_corpus(
        tmp_path, [("train", {"fear": 9}, STILL), ("train", {"fear": 9}, cv2.resize(STILL, (50, 48)))]
    )
    with pytest.raises(ValueError, match=f"Expected a 48×48 image in train.zip, but {names[1]}"):
        load_ferplus(tmp_path, "train")
