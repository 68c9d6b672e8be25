import cv2
import numpy as np
import pytest

from training.datasets.london import list_london, read_portraits

PEOPLE = [f"{number:03d}" for number in range(1, 31)]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("london")
    (root / "images").mkdir()
    for person in PEOPLE:
        for shown, value in (("smiling", 200), ("neutral", 50)):
            picture = np.full((16, 12, 3), value, dtype=np.uint8)
            cv2.imwrite(str(root / "images" / f"{person}_{shown}.jpg"), picture)
    return root


def test_no_person_is_in_both_parts(root):
    train, test = (list_london(root, split) for split in ("train", "test"))
    people = [{portrait.person for portrait in part} for part in (train, test)]
    assert not people[0] & people[1]
    assert people[0] | people[1] == set(PEOPLE)
    assert 4 <= len(people[1]) <= 16


def test_a_portrait_has_the_expression_that_was_asked_for(root):
    portraits = list_london(root, "train")
    for portrait, picture in zip(portraits, read_portraits(portraits), strict=True):
        assert picture.shape == (8, 6, 3)
        assert str(portrait.emotion) == ("happiness" if picture.mean() > 100 else "neutral")


def test_what_is_missing_is_named(root, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"Expected portraits such as 001_smiling\.jpg"):
        list_london(tmp_path, "train")
    with pytest.raises(ValueError, match="train or test, got 'all'"):
        list_london(root, "all")
