"""Which blend shapes make which expression: the prototypes of the Facial Action Coding System.

The prototypes are those of EMFACS (Friesen and Ekman 1983) as commonly listed; disgust has action 10 beside 9 as in
CK+ (Lucey et al. 2010, Table 1). Blend shapes stand for the actions whose muscles they imitate.
"""

import numpy as np

from dfer_hf.taxonomy import SEVEN_EMOTIONS, Emotion

ACTION_SHAPES: dict[int, tuple[str, ...]] = {
    1: ("browInnerUp",),  # inner brow raiser
    2: ("browOuterUp",),  # outer brow raiser
    4: ("browDown",),  # brow lowerer
    5: ("eyeWide",),  # upper lid raiser
    6: ("cheekRaiser", "cheekSquint"),  # cheek raiser
    7: ("eyeSquint",),  # lid tightener
    9: ("noseSneer",),  # nose wrinkler
    10: ("mouthUpperUp",),  # upper lip raiser
    12: ("mouthSmile",),  # lip corner puller
    15: ("mouthFrown",),  # lip corner depressor
    17: ("mouthShrugLower",),  # chin raiser
    20: ("mouthStretch",),  # lip stretcher
    23: ("mouthPress", "mouthRollLower"),  # lip tightener
    25: ("mouthLowerDown",),  # lips part
    26: ("jawOpen",),  # jaw drop
}
"""Blend shapes of each action, without the side (`_L`, `_R`) of those that have one."""

EMOTION_ACTIONS: dict[Emotion, dict[int, float]] = {
    Emotion.HAPPINESS: {6: 0.8, 12: 1.0, 25: 0.4},
    Emotion.SADNESS: {1: 1.0, 4: 0.6, 15: 1.0, 17: 0.4},
    Emotion.NEUTRAL: {},
    Emotion.ANGER: {4: 1.0, 5: 0.5, 7: 0.7, 23: 0.8},
    Emotion.SURPRISE: {1: 1.0, 2: 1.0, 5: 0.8, 26: 0.6},
    Emotion.DISGUST: {9: 1.0, 10: 0.7, 15: 0.4, 17: 0.4},
    Emotion.FEAR: {1: 1.0, 2: 0.5, 4: 0.6, 5: 1.0, 20: 1.0, 26: 0.3},
}
"""Strength of each action at an expression's peak; fear leaves out 7, which works against its 5."""

FREE_SHAPES = (
    "browDown", "browInnerUp", "browOuterUp", "cheekPuff", "eyeSquint", "eyeWide", "jawForward", "jawLeft", "jawOpen",
    "jawRight", "mouthDimple", "mouthFrown", "mouthFunnel", "mouthLeft", "mouthLowerDown", "mouthPress",
    "mouthPucker", "mouthRight", "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper",
    "mouthSmile", "mouthStretch", "mouthUpperUp", "noseSneer",
)  # fmt: skip
"""What a face may also do, speaking or by habit."""


def expression_shapes(
    emotion: Emotion, intensity: float, generator: np.random.Generator | None = None
) -> dict[str, float]:
    """Weigh the blend shapes of an expression.

    Args:
        emotion: One of the seven.
        intensity: From 0, a face at rest, to 1.
        generator: Makes each action weaker by up to a third, as people do; None is the prototype itself.

    Returns:
        Weights by the name of the shape without its side.

    Raises:
        ValueError: If the emotion is not one of the seven or the intensity outside 0 to 1.
    """
    if emotion not in SEVEN_EMOTIONS or not 0 <= intensity <= 1:
        raise ValueError(
            f"Expected one of the seven emotions and an intensity from 0 to 1, got {emotion} and {intensity}."
        )
    weights: dict[str, float] = {}
    for action, strength in EMOTION_ACTIONS[emotion].items():
        own = 1.0 if generator is None else generator.uniform(0.67, 1.0)
        weights |= dict.fromkeys(ACTION_SHAPES[action], intensity * strength * own)
    return weights


def free_shapes(generator: np.random.Generator, *, chance: float, strength: float) -> dict[str, float]:
    """Draw what a face does beside its expression: each free shape with a chance, up to a strength."""
    chosen = generator.random(len(FREE_SHAPES)) < chance
    return {name: generator.uniform(0, strength) for name, taken in zip(FREE_SHAPES, chosen, strict=True) if taken}


def on_both_sides(weights: dict[str, float], names: list[str], asymmetry: dict[str, float]) -> dict[str, float]:
    """Spell weights out for the shapes of a face model, whose names end in `_L` and `_R` where there are two sides.

    Args:
        weights: By the name without the side.
        names: All names of the face model's shapes.
        asymmetry: By the name without the side: above 0 takes that share from the left, below 0 from the right.

    Raises:
        KeyError: If the face model has no such shape.
    """
    spelled = {}
    for name, weight in weights.items():
        if name in names:
            spelled[name] = weight
            continue
        if f"{name}_L" not in names:
            raise KeyError(f"The face model has no blend shape {name!r}; it has {', '.join(names)}.")
        lean = asymmetry.get(name, 0.0)
        spelled[f"{name}_L"] = weight * (1 - max(0.0, lean))
        spelled[f"{name}_R"] = weight * (1 + min(0.0, lean))
    return spelled
