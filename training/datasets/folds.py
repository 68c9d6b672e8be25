"""The fold of a dataset that is asked for, and how people are dealt to folds where its authors made none."""

from collections.abc import Mapping, Sequence

from training.datasets.corpus import Clip, CorpusError


def check_fold(title: str, fold: int | None, num_folds: int) -> int:
    """Return the fold that was asked for, counted from 1; 1 where the dataset has one division.

    Raises:
        CorpusError: If the dataset has no such fold, none is named, or one is named although there is one division.
    """
    if num_folds == 1:
        if fold is not None:
            raise CorpusError(
                f"Expected no fold for {title}, which has one division, got fold {fold}. Leave the fold out."
            )
        return 1
    if fold is None or not 1 <= fold <= num_folds:
        raise CorpusError(f"Expected a fold of {title} from 1 to {num_folds}, got {fold}. Name one, such as --fold 1.")
    return fold


def name_fold(fold: int | None) -> str:
    """What follows the name of a dataset where it has folds, such as `, fold 3`."""
    return "" if fold is None else f", fold {fold}"


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
