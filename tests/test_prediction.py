import csv
import io
import json

import pytest

from dfer_hf.prediction import ClipPrediction, FacePrediction, FramePrediction, Scores, error_row, rows_to_csv

FINE = Scores({"happiness": 0.6, "fear": 0.3, "neutral": 0.1})
COARSE = Scores({"positive": 0.6, "neutral": 0.1, "negative": 0.3})
COLUMNS = [
    *(
        "source",
        "error",
        "track_id",
        "clip_fine",
        "clip_coarse",
        "clip_set",
        "clip_is_unsure",
        "frame_index",
        "time_seconds",
        "weight",
        "loss_without",
    ),
    *("is_interpolated", "is_unsure"),
    *("fine", "coarse", "left", "top", "right", "bottom"),
    *("p_happiness", "p_fear", "p_neutral", "p_coarse_positive", "p_coarse_neutral", "p_coarse_negative"),
]


def clip(*, source="clip.mp4"):
    seen = FramePrediction(3, 0.12, (1.0, 2.0, 33.333333, 44.0), FINE, COARSE, weight=1.0)
    gap = FramePrediction(4, 0.16)
    face = FacePrediction(7, FINE, COARSE, (seen, gap, gap, seen))
    return ClipPrediction(source, "tiny", 9, 0.36, 25.0, (face,), settings={"alignment": "x"}, warnings=("cut off",))


def read_csv(text):
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_scores_rank_by_probability():
    assert FINE.label == "happiness"
    assert FINE.confidence == 0.6
    assert FINE.ranked == [("happiness", 0.6), ("fear", 0.3), ("neutral", 0.1)]


def test_coverage_is_the_share_of_frames_with_a_box():
    assert clip().faces[0].coverage == 0.5


def test_dictionary_survives_json():
    prediction = clip(source="naïve 表情.mp4")
    assert json.loads(prediction.to_json()) == prediction.to_dict()
    assert json.loads(json.dumps(prediction.to_dict(), allow_nan=False)) == prediction.to_dict()


def test_a_frame_without_a_face_has_no_scores_in_json():
    frame = clip().to_dict()["faces"][0]["frames"][1]
    assert frame["box"] is frame["fine"] is frame["coarse"] is None
    assert frame["weight"] == 0


def test_rows_have_the_same_columns_with_and_without_a_face():
    seen, gap, *_ = clip().to_rows()
    assert list(seen) == list(gap) == COLUMNS


def test_csv_reads_back():
    rows = read_csv(clip(source='a, "quoted"\nname.mp4').to_csv())
    assert len(rows) == 4
    assert rows[0]["source"] == 'a, "quoted"\nname.mp4'
    assert (rows[0]["fine"], rows[0]["p_fear"], rows[0]["right"]) == ("happiness", "0.3", "33.33")
    assert [rows[1][name] for name in ("fine", "coarse", "left", "p_fear", "p_coarse_positive")] == [""] * 5
    assert {row["clip_fine"] for row in rows} == {"happiness"}


@pytest.mark.parametrize("error_first", [True, False])
def test_error_rows_share_the_table_with_answers(error_first):
    rows = [error_row("bad.mp4", "no face"), *clip().to_rows()]
    read = read_csv(rows_to_csv(rows if error_first else rows[::-1]))
    (bad,) = [row for row in read if row["error"]]
    assert (bad["source"], bad["error"]) == ("bad.mp4", "no face")
    assert set(bad) == set(COLUMNS)
    assert {value for name, value in bad.items() if name not in ("source", "error")} == {""}


def test_an_answer_cannot_be_changed():
    with pytest.raises(AttributeError):
        clip().source = "other.mp4"


def test_a_prediction_set_holds_the_answer_and_what_is_as_probable_as_the_threshold():
    probabilities = {"fear": 0.3, "happiness": 0.6, "neutral": 0.1}
    assert Scores(probabilities).prediction_set == ("happiness",)
    assert Scores(probabilities, set_threshold=0.7).prediction_set == ("happiness",)
    assert Scores(probabilities, set_threshold=0.3).prediction_set == ("happiness", "fear")
    assert Scores(probabilities, "neutral", set_threshold=0.5).prediction_set == ("happiness", "neutral")


@pytest.mark.parametrize(
    ("threshold", "is_unsure", "answer"),
    [
        (0.5, False, "happiness"),
        (0.5, True, "not sure, perhaps happiness"),
        (0.2, True, "happiness, or fear"),
        (0.1, True, "happiness, or fear, or neutral"),
        (0.05, True, "not sure, perhaps happiness"),
    ],
)
def test_the_headline_names_a_small_set(threshold, is_unsure, answer):
    fine = Scores({"happiness": 0.55, "fear": 0.25, "neutral": 0.14, "anger": 0.06}, set_threshold=threshold)
    face = FacePrediction(0, fine, COARSE, (FramePrediction(0, 0.0),), is_unsure=is_unsure)
    assert face.answer == answer
    assert face.to_dict()["fine"]["prediction_set"] == list(fine.prediction_set)
    assert next(ClipPrediction("a", "b", 1, 0.1, 10, (face,)).to_rows())["clip_set"] == " ".join(fine.prediction_set)
