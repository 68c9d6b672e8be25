"""The spellings under which folders and lists name the emotions."""

from collections.abc import Collection

from dfer_hf.taxonomy import Emotion
from training.datasets.corpus import CorpusError

SPELLINGS: dict[Emotion, tuple[str, ...]] = {
    Emotion.HAPPINESS: ("happiness", "happy", "joy", "joyful"),
    Emotion.SADNESS: ("sadness", "sad"),
    Emotion.NEUTRAL: ("neutral", "neutrality"),
    Emotion.ANGER: ("anger", "angry"),
    Emotion.SURPRISE: ("surprise", "surprised"),
    Emotion.DISGUST: ("disgust", "disgusted"),
    Emotion.FEAR: ("fear", "fearful", "afraid", "scared"),
    Emotion.CONTEMPT: ("contempt", "contemptuous"),
    Emotion.ANXIETY: ("anxiety", "anxious"),
    Emotion.HELPLESSNESS: ("helplessness", "helpless"),
    Emotion.DISAPPOINTMENT: ("disappointment", "disappointed"),
    Emotion.OTHER: ("other", "others"),
}
"""Spellings of each emotion; case and surrounding spaces do not matter."""

_EMOTION_OF = {spelling: emotion for emotion, spellings in SPELLINGS.items() for spelling in spellings}


def emotion_of_word(word: str) -> Emotion | None:
    """Return the emotion that a word names, such as `Happy`, or None."""
    return _EMOTION_OF.get(word.strip().casefold())


def emotion_named(word: str, place: str, classes: Collection[Emotion] = tuple(Emotion)) -> Emotion:
    """Return the emotion that a word names.

    Args:
        word: One of `SPELLINGS`.
        place: Where the word was read, for the message, such as `line 3 of metadata.csv`.
        classes: The emotions that the dataset has.

    Raises:
        CorpusError: If no emotion is spelled so, or the dataset does not have it.
    """
    emotion = emotion_of_word(word)
    if emotion is None or emotion not in classes:
        known = ", ".join(spelling for name in classes for spelling in SPELLINGS[name])
        raise CorpusError(
            f"Expected a class in {place}, got the unknown class {word!r}. Rename it to one that is known: {known}."
        )
    return emotion
