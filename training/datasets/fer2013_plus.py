"""FER2013 by the votes of FER+ (Barsoum et al. 2016): ten people's answers to each of the 48×48 grey stills."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from dfer_hf.taxonomy import SEVEN_EMOTIONS, Emotion
from training.datasets.corpus import Clip, Corpus, CorpusError, Split
from training.datasets.fer2013 import COLUMNS, METADATA, how_to_unpack, read_unpacked
from training.datasets.folds import check_fold

VOTES_FILE = "fer2013new.csv"
VOTE_COLUMNS = (*map(str, (*SEVEN_EMOTIONS, Emotion.CONTEMPT)), "unknown", "NF")
LABELS = (*SEVEN_EMOTIONS, Emotion.CONTEMPT)
BESIDE = f" with {VOTES_FILE} of FER+ beside the table"


def majority(votes: Mapping[str, int]) -> Emotion | None:
    """Return the class that FER+'s `majority` mode gives a face, None where it gives none.

    Single votes do not count, and the winner needs more than half of those that do: after microsoft/FERPlus,
    src/ferplus.py. Faces that are unknown or no faces have no class.

    >>> majority({"neutral": 1, "happiness": 5, "surprise": 4})
    <Emotion.HAPPINESS: 'happiness'>
    >>> majority({"happiness": 5, "surprise": 5}) is None
    True
    """
    counted = {name: count for name, count in votes.items() if count > 1}
    winner = max(counted, key=lambda name: counted[name], default=None)
    if winner is None or 2 * counted[winner] <= sum(counted.values()):
        return None
    return Emotion(winner) if winner in tuple(map(str, LABELS)) else None


def load(root: Path, fold: int | None = None) -> Split:
    """Read a folder that `unpack_fer2013` wrote, and give each face the majority of its votes.

    Raises:
        CorpusError: If the pictures were never written, they were written without votes, or a line is malformed.
    """
    check_fold(CORPUS.title, fold, 1)
    if not (root / METADATA).is_file():
        raise CorpusError(f"Expected {METADATA} in {root}, found none. {how_to_unpack(root, BESIDE)}")
    left_out: Counter[str] = Counter()
    parts: dict[str, list[Clip]] = {"train": [], "test": []}
    for row, place in read_unpacked(root, (*COLUMNS, *VOTE_COLUMNS), left_out, BESIDE):
        label = majority(dict(zip(VOTE_COLUMNS, read_votes(row, place), strict=True)))
        if label is None:
            left_out["no majority, unknown or no face (FER+)"] += 1
        else:
            parts[row["split"]].append(Clip(row["file_name"], root / row["file_name"], label))
    return Split(CORPUS.name, None, LABELS, tuple(parts["train"]), tuple(parts["test"]), dict(left_out))


def read_votes(row: Mapping[str, str | None], place: str) -> list[int]:
    """Read the votes of a row in the order of `VOTE_COLUMNS`.

    Raises:
        CorpusError: If one of them is no number.
    """
    counts = [(row[name] or "").strip() for name in VOTE_COLUMNS]
    if not all(count.isdecimal() for count in counts):
        raise CorpusError(f"Expected ten numbers of votes, got {', '.join(counts)} ({place}). Fetch the table again.")
    return [int(count) for count in counts]


CORPUS = Corpus(
    name="fer2013_plus",
    title="FER2013 by the votes of FER+",
    load=load,
    num_folds=1,
    expected={},
    source="Barsoum et al. 2016 (ICMI); microsoft/FERPlus: README, fer2013new.csv, src/ferplus.py (mode `majority`).",
)
