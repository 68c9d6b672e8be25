"""Which fold of a corpus is asked for, and how people are dealt to folds where its authors made none."""

from collections.abc import Mapping, Sequence

from training.datasets.corpus import Clip, CorpusError


def checked_fold(title: str, fold: int | None, num_folds: int) -> int:
    """The fold, counted from 1.

    Raises:
        CorpusError: If the corpus has no such fold, or none is named.
    """
    if fold is None or not 1 <= fold <= num_folds:
        raise CorpusError(f"Expected a fold of {title} from 1 to {num_folds}, got {fold}. Name one, such as --fold 1.")
    return fold


def require_one_division(title: str, fold: int | None) -> None:
    """Refuse the fold of a corpus that has one division only; its number 1 is let pass.

    Raises:
        CorpusError: If another one is asked for.
    """
    if fold not in (None, 1):
        raise CorpusError(f"Expected no fold for {title}, which has one division, got fold {fold}. Leave it out.")


def deal_people(people: Sequence[str], num_folds: int, first_fold: int) -> dict[str, int]:
    """Deal people to folds like cards, one to each in turn, so that folds differ by one person at most.

    Args:
        people: All of a release, whether their clips are there or not: a missing file moves nobody.
        num_folds: Number of folds.
        first_fold: Fold of the first of them; another one for each group that is dealt alone.

    Returns:
        Fold of each person, counted from 1.
    """
    return {person: (place + first_fold - 1) % num_folds + 1 for place, person in enumerate(people)}


def divide_by_person(
    clips: Sequence[Clip], fold_of: Mapping[str, int], fold: int
) -> tuple[tuple[Clip, ...], tuple[Clip, ...]]:
    """Clips of the people outside a fold, to train on, and of those in it, to test on.

    Raises:
        CorpusError: If either part is empty.
    """
    train = tuple(clip for clip in clips if clip.person is None or fold_of[clip.person] != fold)
    test = tuple(clip for clip in clips if clip.person is not None and fold_of[clip.person] == fold)
    if not train or not test:
        people = ", ".join(person for person, place in fold_of.items() if (place == fold) == (not test))
        raise CorpusError(
            f"Expected clips to {'test' if not test else 'train'} on in fold {fold}, found none of the people "
            f"{people}. Complete the release, or choose another fold."
        )
    return train, test
