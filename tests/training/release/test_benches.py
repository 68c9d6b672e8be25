import json
import shutil

import numpy as np
import pytest

from training.data.moving_script import NoiseKind
from training.evaluation.calibration import match_confidence
from training.release import (
    bench_clips,
    bench_conditions,
    bench_corruptions,
    bench_data,
    bench_explanations,
    bench_stills,
    calibrate,
    evaluate_all,
    smoothing,
)
from training.release.bench_corruptions import uar
from training.release.bench_data import class_weights, spread
from training.release.bench_room import DataMissingError, Room
from training.release.evaluation_figures import draw_checkpoint
from training.release.scoring import Asked, confidence, difference, scorecard
from training.release.systems import RECOGNISER, ClipOutputs

from .conftest import build_system


def outputs_of(logits):
    decided = logits.argmax(axis=1)
    return ClipOutputs(logits, decided, decided, np.full((len(logits), 1), 1.0))


def test_cases_are_spread_over_each_class_and_stand_for_its_share():
    labels = np.array([0] * 10 + [1] * 30)
    chosen = spread(labels, 5)
    assert chosen.tolist() == [1, 3, 5, 7, 9, 13, 19, 25, 31, 37]
    weights = class_weights(labels, chosen)
    assert weights[:5].sum() == pytest.approx(0.25)
    assert weights.sum() == pytest.approx(1)
    assert spread(labels, 2, np.arange(1, 40, 2)).tolist() == [3, 7, 17, 33]


def test_accuracy_is_that_of_the_whole_data_set_and_intervals_hold_the_figures():
    labels = np.array([0] * 50 + [1] * 50)
    decided = np.where(np.arange(100) % 10 == 0, 1 - labels, labels)
    decided[50:70] = 0
    asked = Asked(labels, np.where(labels == 0, 0.9, 0.1) / 50, np.ones(100, bool))
    card = scorecard(asked, decided)
    # Of the second class, 20 and the three others that are a multiple of ten are wrong.
    assert card["uar"] == pytest.approx(100 * (0.9 + 0.54) / 2)
    assert card["war"] == pytest.approx(100 * (0.9 * 0.9 + 0.1 * 0.54))
    assert card["uar_interval"][0] < card["uar"] < card["uar_interval"][1]
    above = difference(asked, labels, decided)
    assert above["points"] == pytest.approx(28)
    assert 0 < above["interval"][0] < 28 < above["interval"][1]
    assert difference(asked, decided, decided)["interval"] == [0, 0]


def test_confidence_is_of_cases_that_were_not_calibrated_on(systems):
    _, system = systems
    logits = np.log(np.array([[0.5, 0.3, 0.05, 0.05, 0.04, 0.03, 0.03]] * 4))
    asked = Asked(np.array([0, 1, 2, 0]), np.full(4, 0.25), np.array([True, True, True, False]))
    found = confidence(system, asked, outputs_of(logits))
    assert found["count"] == 3
    assert found["set_size"] == 2
    assert found["coverage"] == pytest.approx(200 / 3, abs=1e-3)
    assert found["ece"] == pytest.approx(100 * (0.5 - 1 / 3), abs=1e-3)
    assert found["unsure"] == 100


def test_faces_are_measured_aligned_by_a_fixed_frame_and_as_found(systems, room):
    recogniser, system = (bench_stills.measure_ferplus(systems, room)[each.name] for each in systems)
    assert {"aligned", "fixed frame", "found"} == set(system)
    assert system["aligned"]["count"] == recogniser["aligned"]["count"] == 21
    assert system["aligned"]["confidence"]["count"] == 10
    assert "coverage" in system["aligned"]["confidence"]
    assert "coverage" not in recogniser["aligned"]["confidence"]


def test_photographs_without_a_face_are_counted(systems, room):
    measured = bench_stills.measure_muxspace(systems, room)["tiny-aen"]
    assert (measured["count"], measured["not_found"]) == (20, 1)


def test_portraits_are_measured_by_group(systems, room):
    measured = bench_stills.measure_london(systems, room)["tiny-aen"]
    assert {name: group["people"] for name, group in measured["groups"].items()} == {
        "gender: female": 1, "gender: male": 2,
        "age: 36 and more": 1, "age: not given": 1, "age: up to 25": 1,
        "ethnicity: not given": 1, "ethnicity: white": 2,
    }  # fmt: skip
    assert {"happiness", "neutral"} < set(measured["groups"]["gender: male"])


def test_every_corruption_and_severity_is_used_alike():
    cells = np.bincount(bench_corruptions.cells_in_turn(400), minlength=50)
    assert set(cells.tolist()) == {8}


def test_corruptions_are_measured_beside_clean_stills(systems, room):
    measured = bench_corruptions.measure_corruptions(systems, room)["tiny-aen"]
    assert set(measured["accuracy_by_corruption"]) == set(bench_corruptions.SEVERITIES)
    assert measured["rpc"] == pytest.approx(100 * measured["mpc"] / measured["clean"], abs=1e-3)


def test_explanations_are_measured_beside_those_of_another_clip(systems, room, monkeypatch):
    monkeypatch.setattr(bench_explanations, "EVERY_NTH_STILL", 3)
    measured = bench_explanations.measure_explanations(systems[1:], room)
    system = measured["tiny-aen"]
    assert system["count"] == 7
    assert next(iter(system["places"])) == "layercam"
    assert list(system["frames"])[:2] == ["leaving out", "own weights"]
    assert {"difference", "of_another", "half_again"} < set(system["places"]["layercam"])
    assert "leaving_out" in system["frames"]["own weights"]


def test_framing_and_size_are_measured(systems, room):
    measured = bench_conditions.measure_conditions(systems[:1], room)[RECOGNISER]
    assert len(measured["framing"]) == 6
    assert {card["found"] for card in measured["face_width"].values()} == {100.0}


@pytest.fixture
def few_clips(monkeypatch):
    """One clip of each class, without noise and with one kind and share of it."""
    for module in (bench_clips, calibrate):
        monkeypatch.setattr(module, "CLIPS_PER_CLASS", 1)
    monkeypatch.setattr(bench_data, "ALL_KINDS", (NoiseKind.COVERED,))
    monkeypatch.setattr(bench_data, "NOISE_SHARES", (0.5,))


@pytest.mark.usefixtures("few_clips")
def test_clips_are_measured_beside_frame_answers_and_the_recogniser(systems, room):
    measured = bench_clips.measure_clips(systems, room)
    recogniser, system = measured[RECOGNISER], measured["tiny-aen"]
    half = system["by_share"]["50%"]
    assert list(half["by_kind"]) == ["covered"]
    assert half["above_recogniser"]["points"] == pytest.approx(half["uar"] - half["recogniser"], abs=1e-3)
    assert half["recogniser"] == recogniser["by_share"]["50%"]["own_frames"]
    assert half["frame_weight"]["on_target"] == pytest.approx(100, abs=20)
    assert system["by_share"]["0%"]["frame_weight"]["off_target"] is None
    # The mean of equal weights is an even share.
    assert recogniser["by_share"]["50%"]["frame_weight"]["off_target"] == pytest.approx(100)
    assert system["length_and_rate"]["whole"] == half["uar"]
    assert len(system["length_and_rate"]) == 4


@pytest.mark.usefixtures("few_clips")
def test_a_checkpoint_is_calibrated_on_faces_that_are_not_measured(systems, room):
    logits, asked = calibrate.collect(systems[0], room.data_root)
    assert asked.weights.sum() == pytest.approx(1)
    # Eleven of the 21 faces, twice, and a clip of each class with noise and without.
    assert len(logits) == 22 + 14
    temperature, threshold = calibrate.fit(logits, asked)
    assert temperature == match_confidence(logits, asked.labels, asked.weights)
    assert 0 <= threshold <= 1


def test_a_bench_without_its_data_is_left_out_and_keeps_its_figures(systems, room, tmp_path):
    shutil.copytree(room.data_root / "ferplus", tmp_path / "ferplus")
    said = []
    measured = dict(evaluate_all.evaluate(systems[:1], Room(tmp_path), ["london", "corruptions"], said.append))
    assert list(measured) == ["corruptions"]
    assert said[0].startswith("london: left out. Expected the dataset london")
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    earlier = {"benches": {"corruptions": {}, "london": {"war": 1.0}}}
    (folder / "results.json").write_text(json.dumps(earlier), encoding="utf-8")
    results = evaluate_all.store(folder, "corruptions", measured["corruptions"][RECOGNISER])
    assert results["benches"]["london"] == {"war": 1.0}
    assert results["benches"]["corruptions"]["count"] == 21
    assert json.loads((folder / "results.json").read_text(encoding="utf-8")) == results
    draw_checkpoint(results, folder)
    assert (folder / "reliability.png").is_file()


def test_missing_data_is_named(tmp_path):
    with pytest.raises(DataMissingError, match="Expected the dataset muxspace"):
        Room(tmp_path).folder("muxspace")


def test_windows_are_compared_on_equal_encodings_and_the_checkpoint_keeps_its_own(room):
    system = build_system("cfc_sp", "tiny-cfc", coarse_nets=["resnet"], fine_nets=["resnet"], smoothing_window=2)
    split = bench_data.ferplus_split(room.folder("ferplus"))
    cells = list(bench_data.calibration_clips(split, 1, shares=(0.5,)))
    clips = bench_data.BenchClips.join(cells)
    assert len(clips.crops) == len(clips.asked) == len(clips.off_target) == sum(len(cell.crops) for cell in cells)
    measured = smoothing.measure(system, clips, (0, 2))
    assert system.model.config.smoothing_window == 2
    decided = system.answer_clips(clips.crops).decided
    assert measured[2]["uar"] == pytest.approx(100 * uar(decided, clips.asked.labels), abs=1e-3)
    assert measured[0] != measured[2]
