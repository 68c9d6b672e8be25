"""The datasets that can be trained on, by name."""

from training.datasets import (
    afew,
    aff_wild2,
    crema_d,
    dfew,
    fer2013,
    fer2013_plus,
    ferv39k,
    folder,
    mafw,
    raf_db,
    ravdess,
)
from training.datasets.corpus import Corpus, CorpusError

CORPORA: dict[str, Corpus] = {
    "dfew": dfew.CORPUS,
    "ferv39k": ferv39k.CORPUS,
    "afew": afew.CORPUS,
    "mafw": mafw.CORPUS,
    "mafw_compound": mafw.COMPOUND,
    "aff_wild2": aff_wild2.CORPUS,
    "aff_wild2_from_0": aff_wild2.FROM_0,
    "aff_wild2_from_1": aff_wild2.FROM_1,
    "raf_db": raf_db.CORPUS,
    "raf_db_original": raf_db.ORIGINAL,
    "fer2013": fer2013.CORPUS,
    "fer2013_plus": fer2013_plus.CORPUS,
    "crema_d": crema_d.CORPUS,
    "ravdess": ravdess.CORPUS,
    "folder": folder.CORPUS,
    "own_classes": folder.OWN_CLASSES,
}


def find_corpus(name: str) -> Corpus:
    """Return the dataset with a name.

    Raises:
        CorpusError: If there is none with this name.
    """
    if name not in CORPORA:
        raise CorpusError(f"Expected a corpus among {', '.join(CORPORA)}, got {name!r}. Choose one of them.")
    return CORPORA[name]
