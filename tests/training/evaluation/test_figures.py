import sys

import cv2
import numpy as np
import pytest

from training.evaluate import draw_figures
from training.evaluation.calibration import Reliability
from training.evaluation.figures import draw_confusion, draw_features, draw_recalls, draw_reliability, embed
from training.evaluation.metrics import Confusion
from training.evaluation.predict import Predictions
from training.evaluation.results import fine_confusion, intervals

from ..small_source import GROUPS, SEVEN, random_predictions

ALL = (
    "confusion.png",
    "confusion_coarse.png",
    "confusion_coarse_of_fine.png",
    "features.png",
    "recalls.png",
    "reliability.png",
)


def clusters(count=70, *, spread=0.1):
    """Features of seven classes, each in its own region."""
    rng = np.random.default_rng(0)
    labels = np.arange(count) % 7
    places = rng.normal(0, 5, (7, 20))
    return (places[labels] + rng.normal(0, spread, (count, 20))).astype(np.float32), labels


@pytest.fixture(autouse=True)
def coarse_pixels(monkeypatch):
    # As many as the tests need.
    monkeypatch.setattr("training.evaluation.figures.DPI", 75)


def test_two_runs_draw_the_same_bytes(tmp_path):
    features, labels = clusters(30)
    answers = random_predictions(30, features=features)
    assert len(labels) == len(answers)
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        draw_figures(answers, tmp_path / name, title="a system", temperature=1.7)
    files = sorted(path.name for path in (tmp_path / "first").iterdir())
    assert files == sorted(ALL)
    for file in files:
        first, second = (tmp_path / name / file for name in ("first", "second"))
        assert first.read_bytes() == second.read_bytes(), file
        picture = cv2.imread(str(first))
        assert min(picture.shape[:2]) > 150
        assert picture.std() > 5


def test_a_confusion_is_as_dark_as_its_share(tmp_path):
    counts = np.array([[90, 10, 0], [0, 5, 5], [0, 0, 0]])
    draw_confusion(Confusion(("a", "b", "c"), counts), tmp_path / "plot.png", title="x")
    picture = cv2.cvtColor(cv2.imread(str(tmp_path / "plot.png")), cv2.COLOR_BGR2RGB)
    from matplotlib import colormaps

    def area(share):
        colour = np.array(colormaps["Blues"](share)[:3]) * 255
        return (np.abs(picture - colour).max(axis=-1) <= 1.5).sum()

    cell = area(0.9)
    assert cell > 1500
    # Two cells, without the pixels of their numbers.
    assert area(0.5) == pytest.approx(2 * cell, rel=0.3)
    assert area(0.1) == pytest.approx(cell, rel=0.3)


def test_a_class_without_clips_has_neither_bar_nor_row(tmp_path):
    whole = random_predictions(80)
    keep = whole.labels != 0
    predictions = Predictions(
        tuple(np.array(whole.names)[keep]),
        whole.labels[keep],
        whole.logits[keep],
        whole.coarse_logits[keep],
        SEVEN,
        GROUPS,
    )
    confusion, ends = fine_confusion(predictions), intervals(predictions).recall_ends
    pictures = []
    # Happiness is absent, so that its recall has to be invented to be drawn.
    for label in (0, 2):
        counts = confusion.counts.copy()
        counts[0, 0] = label
        made_up = Confusion(confusion.names, counts)
        bars = np.where(np.isnan(ends), 0.4, ends) if label else ends
        draw_recalls(made_up, bars, tmp_path / "plot.png", groups=GROUPS, title="x")
        pictures.append(cv2.imread(str(tmp_path / "plot.png")))
    orange = [(np.abs(picture - np.array([0, 159, 230])).max(axis=-1) < 3).sum() for picture in pictures]
    assert orange[1] > 1.3 * orange[0]


def test_reliability_has_a_panel_for_each_temperature(tmp_path):
    predictions = random_predictions(100)
    one = Reliability.of(predictions.probabilities, predictions.labels)
    draw_reliability({"one": one}, tmp_path / "one.png", title="x")
    draw_reliability({"one": one, "two": one}, tmp_path / "two.png", title="x")
    widths = [cv2.imread(str(tmp_path / f"{name}.png")).shape[1] for name in ("one", "two")]
    assert widths[1] > 1.7 * widths[0]


def test_features_that_lie_together_are_drawn_together():
    features, labels = clusters()
    points = embed(features)
    np.testing.assert_array_equal(points, embed(features))
    distances = np.linalg.norm(points[:, None] - points[None], axis=-1)
    np.fill_diagonal(distances, np.inf)
    assert (labels[distances.argmin(axis=1)] == labels).mean() > 0.95


def test_features_of_any_number_and_size_can_be_drawn(tmp_path):
    for count, size in ((3, 1), (4, 300), (12, 2)):
        features = np.random.default_rng(0).normal(size=(count, size)).astype(np.float32)
        groups = {"positive": SEVEN[:3], "other": SEVEN[3:]}
        labels = np.arange(count) % 7
        draw_features(
            features, labels, tmp_path / "plot.png", label_names=SEVEN, groups=groups, title=f"{count} clips"
        )
    for same in (np.ones((5, 4)), np.full((5, 4), np.nan)):
        with pytest.raises(ValueError, match="Expected finite features that differ between the clips"):
            embed(same)
    with pytest.raises(ValueError, match="Expected three clips or more for t-SNE, got 2"):
        embed(np.zeros((2, 4)))


def test_of_too_many_clips_a_part_is_drawn_and_the_title_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr("training.evaluation.figures.MAX_TSNE_POINTS", 10)
    seen = []
    monkeypatch.setattr(
        "training.evaluation.figures.embed", lambda values, **_: seen.append(len(values)) or np.zeros((len(values), 2))
    )
    features, labels = clusters()
    fields = {"label_names": SEVEN, "groups": GROUPS, "title": "x"}
    draw_features(features, labels, tmp_path / "part.png", **fields)
    assert seen == [10]


@pytest.mark.parametrize(("library", "message"), [("sklearn", "scikit-learn"), ("matplotlib", "matplotlib")])
def test_a_missing_library_is_named(tmp_path, monkeypatch, library, message):
    for name in [name for name in sys.modules if name.split(".")[0] == library]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    features, labels = clusters(20)
    with pytest.raises(ImportError, match=f"Run `pip install {message}`"):
        draw_features(features, labels, tmp_path / "x.png", label_names=SEVEN, groups=GROUPS, title="x")
