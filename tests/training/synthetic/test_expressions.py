import numpy as np
import pytest

from dfer_hf.taxonomy import SEVEN_EMOTIONS, Emotion
from training.synthetic.expressions import (
    ACTION_SHAPES,
    EMOTION_ACTIONS,
    expression_shapes,
    free_shapes,
    on_both_sides,
)

NAMES = ["jawOpen", "mouthSmile_L", "mouthSmile_R"]


def test_every_emotion_has_a_prototype_of_known_actions():
    assert set(EMOTION_ACTIONS) == set(SEVEN_EMOTIONS)
    assert {action for actions in EMOTION_ACTIONS.values() for action in actions} <= set(ACTION_SHAPES)
    prototypes = [frozenset(actions) for actions in EMOTION_ACTIONS.values()]
    assert len(set(prototypes)) == len(prototypes)


def test_intensity_scales_the_prototype():
    full, half = (expression_shapes(Emotion.FEAR, intensity) for intensity in (1.0, 0.5))
    assert full == {name: 2 * weight for name, weight in half.items()}
    assert full["eyeWide"] == EMOTION_ACTIONS[Emotion.FEAR][5]
    assert not any(expression_shapes(Emotion.FEAR, 0.0).values())
    assert expression_shapes(Emotion.NEUTRAL, 1.0) == {}


def test_a_person_shows_each_action_a_little_weaker():
    own = expression_shapes(Emotion.ANGER, 1.0, np.random.default_rng(0))
    for name, weight in expression_shapes(Emotion.ANGER, 1.0).items():
        assert 0.67 * weight <= own[name] < weight


@pytest.mark.parametrize(
    ("emotion", "intensity"), [(Emotion.CONTEMPT, 0.5), (Emotion.FEAR, 1.2), (Emotion.FEAR, -0.1)]
)
def test_what_has_no_prototype_is_refused(emotion, intensity):
    with pytest.raises(ValueError, match="one of the seven emotions and an intensity from 0 to 1"):
        expression_shapes(emotion, intensity)


def test_shapes_are_spelled_out_for_both_sides():
    weights = {"jawOpen": 0.4, "mouthSmile": 0.8}
    assert on_both_sides(weights, NAMES, {}) == {"jawOpen": 0.4, "mouthSmile_L": 0.8, "mouthSmile_R": 0.8}
    left, right = (on_both_sides(weights, NAMES, {"mouthSmile": lean}) for lean in (-0.25, 0.25))
    assert (left["mouthSmile_L"], left["mouthSmile_R"]) == pytest.approx((0.8, 0.6))
    assert (right["mouthSmile_L"], right["mouthSmile_R"]) == pytest.approx((0.6, 0.8))


def test_a_shape_the_model_lacks_is_named():
    with pytest.raises(KeyError, match="no blend shape 'tongueOut'"):
        on_both_sides({"tongueOut": 1.0}, NAMES, {})


def test_free_shapes_keep_to_their_chance_and_strength():
    generator = np.random.default_rng(0)
    assert free_shapes(generator, chance=0.0, strength=1.0) == {}
    everything = free_shapes(generator, chance=1.0, strength=0.3)
    assert len(everything) > 20
    assert 0 <= min(everything.values()) < max(everything.values()) <= 0.3
