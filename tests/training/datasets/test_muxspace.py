import csv
import zipfile

import cv2
import numpy as np
import pytest

from training.datasets.muxspace import TEST_PARTS, list_muxspace, read_photographs
from training.datasets.people import is_test_person


def write_muxspace(root, rows):
    """Write a miniature of the release: `rows` holds (label, person, picture or None)."""
    root.mkdir(exist_ok=True)
    with (root / "labels.csv").open("w", newline="") as file, zipfile.ZipFile(root / "train.zip", "w") as archive:
        writer = csv.writer(file)
        writer.writerow(["image", "label", "person"])
        for index, (label, person, picture) in enumerate(rows):
            writer.writerow([f"{index:05d}.png", label, person])
            if picture is not None:
                archive.writestr(f"{index:05d}.png", cv2.imencode(".png", picture[..., ::-1])[1].tobytes())


def picture(value):
    return np.full((10, 12, 3), (value, 0, 255 - value), dtype=np.uint8)


PEOPLE = [f"{number:010x}" for number in range(60)]


def test_no_person_is_in_both_parts_and_one_in_ten_is_kept_to_test(tmp_path):
    write_muxspace(tmp_path, [("fear", person, picture(0)) for person in PEOPLE * 2])
    train, test = ({entry.person for entry in list_muxspace(tmp_path, split)} for split in ("train", "test"))
    assert not train & test
    assert train | test == set(PEOPLE)
    assert 2 <= len(test) <= 12
    assert all(is_test_person(person, TEST_PARTS) for person in test)


def test_pictures_come_in_order_and_in_their_colours(tmp_path):
    person = next(person for person in PEOPLE if not is_test_person(person, TEST_PARTS))
    write_muxspace(tmp_path, [("fear", person, picture(3)), ("disgust", person, picture(7))])
    photographs = list_muxspace(tmp_path, "train")
    assert [str(entry.emotion) for entry in photographs] == ["fear", "disgust"]
    found = list(read_photographs(tmp_path, photographs[::-1]))
    np.testing.assert_array_equal(found, [picture(7), picture(3)])


def test_what_is_missing_is_named(tmp_path):
    person = next(person for person in PEOPLE if not is_test_person(person, TEST_PARTS))
    with pytest.raises(FileNotFoundError, match=r"Expected labels\.csv in"):
        list_muxspace(tmp_path, "train")
    write_muxspace(tmp_path, [("fear", person, None)])
    with pytest.raises(ValueError, match=r"Expected a picture 00000\.png"):
        list(read_photographs(tmp_path, list_muxspace(tmp_path, "train")))
    with pytest.raises(ValueError, match="train or test, got 'valid'"):
        list_muxspace(tmp_path, "valid")
    write_muxspace(tmp_path, [("joyous", person, None)])
    with pytest.raises(ValueError, match="joyous"):
        list_muxspace(tmp_path, "train")
