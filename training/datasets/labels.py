"""The spellings under which folders and tables name the emotions."""

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
"""Read without regard to case and to spaces around the word."""


def emotion_named(word: str, place: str) -> Emotion:
    """The emotion that a word names.

    Args:
        word: One of `SPELLINGS`.
        place: Where it was read, for the message, such as `metadata.csv, line 3`.

    Raises:
        CorpusError: If no emotion is spelled so.
    """
    for emotion, spellings in SPELLINGS.items():
        if word.strip().casefold() in spellings:
            return emotion
    known = ", ".join(spelling for spellings in SPELLINGS.values() for spelling in spellings)
    raise CorpusError(
        f"Expected the name of a class, got {word!r} ({place}). Rename it to one that is known: {known}."
    )
