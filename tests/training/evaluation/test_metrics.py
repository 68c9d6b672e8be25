import warnings

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, recall_score
from sklearn.metrics import confusion_matrix as sklearn_confusion

from training.evaluation.bootstrap import bootstrap
from training.evaluation.metrics import Confusion, class_f1_scores, class_recalls, group_indices, hierarchy_violations
from training.evaluation.results import (
    coarse_confusion,
    fine_confusion,
    group_confusion,
    intervals,
    measure,
    violations,
)

from ..small_source import GROUPS, SEVEN, random_predictions


def random_cases():
    """Labels and answers of few and many clips, with classes that are never a label, never an answer, or neither."""
    rng = np.random.default_rng(3)
    for number in range(200):
        num_classes = int(rng.integers(2, 12))
        count = int(rng.integers(1, 40 if number % 3 else 2000))
        labels = rng.choice(rng.integers(0, num_classes, rng.integers(1, num_classes + 1)), count)
        answers = rng.choice(rng.integers(0, num_classes, rng.integers(1, num_classes + 1)), count)
        right = rng.random(count) < rng.random()
        yield num_classes, labels, np.where(right, labels, answers)


def test_figures_agree_with_scikit_learn():
    for num_classes, labels, answers in random_cases():
        names = [f"class {index}" for index in range(num_classes)]
        ours = Confusion.of(answers, labels, names)
        with warnings.catch_warnings():
            # Some answers are no label, and some labels are of one class.
            warnings.simplefilter("ignore")
            balanced = balanced_accuracy_score(labels, answers)
        every = list(range(num_classes))
        np.testing.assert_array_equal(ours.counts, sklearn_confusion(labels, answers, labels=every))
        assert ours.war == pytest.approx(accuracy_score(labels, answers), abs=1e-12)
        assert ours.uar == pytest.approx(balanced, abs=1e-12)
        assert ours.macro_f1 == pytest.approx(f1_score(labels, answers, average="macro"), abs=1e-12)
        recalls = recall_score(labels, answers, labels=every, average=None, zero_division=np.nan)
        np.testing.assert_allclose(class_recalls(ours.counts), recalls, atol=1e-12)
        f1 = f1_score(labels, answers, labels=every, average=None, zero_division=np.nan)
        np.testing.assert_allclose(class_f1_scores(ours.counts), f1, atol=1e-12)


def test_a_class_without_clips_is_left_out_of_the_mean_and_named():
    card = Confusion.of(np.array([0, 1, 2]), np.array([0, 0, 1]), ["a", "b", "c", "d"]).to_dict()
    assert card["absent_classes"] == ["c", "d"]
    # Of 50 % and 0 %.
    assert card["uar"] == 25.0
    assert card["recall"] == {"a": 50.0, "b": 0.0, "c": None, "d": None}
    assert card["f1"] == {"a": 66.6667, "b": 0.0, "c": 0.0, "d": None}


@pytest.mark.parametrize(
    ("answers", "labels", "message"),
    [
        ([], [], "at least one, got 0 and 0"),
        ([1], [1, 0], "as many predictions as labels"),
        ([1], [-1], "from 0 to 1, got -1 to 1. Leave out what has no label"),
        ([2], [1], "from 0 to 1, got 1 to 2"),
    ],
)
def test_what_cannot_be_counted_is_refused(answers, labels, message):
    with pytest.raises(ValueError, match=message):
        Confusion.of(np.array(answers, dtype=int), np.array(labels, dtype=int), ["a", "b"])


def test_the_coarse_level_has_the_systems_own_answers_and_the_groups_of_the_fine_ones():
    predictions = random_predictions(200, seed=5)
    group_of = np.array([0, 2, 1, 2, 0, 2, 2])
    np.testing.assert_array_equal(group_indices(SEVEN, GROUPS), group_of)
    truth, fine_groups = group_of[predictions.labels], group_of[predictions.predicted]
    own = predictions.coarse_predicted
    assert coarse_confusion(predictions).war == pytest.approx((own == truth).mean())
    assert coarse_confusion(predictions).uar == pytest.approx(balanced_accuracy_score(truth, own))
    assert group_confusion(predictions).war == pytest.approx((fine_groups == truth).mean())
    assert violations(predictions) == pytest.approx((fine_groups != own).mean())
    assert 0 < violations(predictions) < 1
    assert hierarchy_violations(predictions.predicted, fine_groups, group_of) == 0


def slow_bootstrap(predictions, units, *, num_resamples):
    """Resample in the plain way: draw units, take all their clips, and compute every figure again."""
    rng = np.random.default_rng(8)
    by_unit = [np.flatnonzero(np.asarray(units) == unit) for unit in sorted(set(units))]
    values, recalls = [], []
    for _ in range(num_resamples):
        clips = np.concatenate([by_unit[unit] for unit in rng.integers(0, len(by_unit), len(by_unit))])
        labels, answers = predictions.labels[clips], predictions.predicted[clips]
        own, group_of = predictions.coarse_predicted[clips], predictions.group_of
        fine = Confusion.of(answers, labels, SEVEN)
        coarse = Confusion.of(own, group_of[labels], list(GROUPS))
        of_fine = (group_of[answers] == group_of[labels]).mean()
        wrong = (group_of[answers] != own).mean()
        values.append([fine.war, fine.uar, fine.macro_f1, coarse.war, coarse.uar, of_fine, wrong])
        recalls.append(class_recalls(fine.counts))
    tails = [2.5, 97.5]
    return np.percentile(values, tails, axis=0), np.nanpercentile(recalls, tails, axis=0)


@pytest.mark.parametrize("by_person", [False, True])
def test_intervals_are_those_of_drawing_clips_or_persons_one_by_one(by_person):
    predictions = random_predictions(150, seed=2)
    persons = [f"person {index // 7}" for index in range(150)] if by_person else None
    ours = bootstrap(
        predictions.labels,
        predictions.predicted,
        predictions.coarse_predicted,
        label_names=SEVEN,
        group_of=predictions.group_of,
        persons=persons,
        num_resamples=20_000,
    )
    units = persons or list(range(150))
    ends, recall_ends = slow_bootstrap(predictions, units, num_resamples=1000)
    np.testing.assert_allclose(np.array(list(ours.ends.values())).T, ends, atol=0.015)
    np.testing.assert_allclose(ours.recall_ends, recall_ends, atol=0.05)
    assert ours.units == (("persons or videos", 22) if by_person else ("clips", 150))


def test_clips_of_one_person_widen_the_intervals():
    predictions = random_predictions(30, seed=2)
    tripled = random_predictions(30, seed=2)
    fields = {name: np.repeat(getattr(tripled, name), 3, axis=0) for name in ("labels", "logits", "coarse_logits")}
    names = tuple(f"clip {index}" for index in range(90))
    persons = tuple(f"person {index // 3}" for index in range(90))
    alike = type(predictions)(names, **fields, label_names=SEVEN, groups=GROUPS, persons=persons)
    apart = type(predictions)(names, **fields, label_names=SEVEN, groups=GROUPS)
    (low, high), (low_apart, high_apart) = (intervals(answers).ends["war"] for answers in (alike, apart))
    once = intervals(predictions).ends["war"]
    assert high - low > 1.3 * (high_apart - low_apart)
    assert (low, high) == pytest.approx(once, abs=0.05)


def test_a_person_brings_all_clips_however_many():
    # The larger half is answered rightly.
    counts = [1, 1, 1, 1, 1, 1, 2, 2, 3, 4, 12, 25]
    labels = np.zeros(sum(counts), dtype=int)
    answers = np.repeat(np.arange(len(counts)) < 6, counts).astype(int)
    persons = np.repeat(np.arange(len(counts)), counts)
    fields = {"label_names": ["a", "b"], "group_of": np.array([0, 1]), "persons": [f"{p}" for p in persons]}
    low, high = bootstrap(labels, answers, answers, num_resamples=20_000, **fields).ends["war"]
    rng = np.random.default_rng(1)
    drawn = rng.integers(0, len(counts), (20_000, len(counts)))
    right = np.where(np.arange(len(counts)) < 6, 0, counts)[drawn].sum(axis=1)
    expected = np.percentile(right / np.array(counts)[drawn].sum(axis=1), [2.5, 97.5])
    assert (low, high) == pytest.approx(tuple(expected), abs=0.03)


def test_few_persons_are_not_drawn():
    predictions = random_predictions(60, persons=tuple("abc"[index % 3] for index in range(60)))
    assert intervals(predictions).units == ("clips", 60)


def test_intervals_follow_from_the_seed_and_hold_an_absent_class():
    predictions = random_predictions(60, seed=1)
    keep = predictions.labels != 3
    kept = type(predictions)(
        tuple(np.array(predictions.names)[keep]),
        predictions.labels[keep],
        predictions.logits[keep],
        predictions.coarse_logits[keep],
        SEVEN,
        GROUPS,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first, second = measure(kept, temperature=1.0), measure(kept, temperature=1.0)
    assert first == second
    assert first["confidence_intervals"]["recall"]["anger"] == [None, None]
    assert first["fine"]["absent_classes"] == ["anger"]
    low, high = first["confidence_intervals"]["war"]
    assert low < first["fine"]["war"] < high
    assert fine_confusion(kept).war == pytest.approx((kept.predicted == kept.labels).mean())


@pytest.mark.parametrize("fields", [{"level": 1.0}, {"level": 0.0}, {"num_resamples": 1}])
def test_intervals_without_sense_are_refused(fields):
    ones = np.ones(3, dtype=int)
    with pytest.raises(ValueError, match="Expected a level between 0 and 1 and two resamples or more"):
        bootstrap(ones, ones, ones, label_names=["a", "b"], group_of=np.array([0, 1]), **fields)
