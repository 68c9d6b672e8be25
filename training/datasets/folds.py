"""Check the requested fold of a dataset, and distribute people over folds where its authors made none."""

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
    """Return the words that follow the name of a dataset with folds, such as `, fold 3`."""
    return "" if fold is None else f", fold {fold}"


def deal_people(people: Sequence[str], num_folds: int, first_fold: int) -> dict[str, int]:
    """Distribute people over the folds in turn, so that folds differ by one person at most.

    Args:
        people: All people of a release, even without clips, so that a missing file changes nobody's fold.
        num_folds: Number of folds.
        first_fold: Fold of the first person; it differs between groups that are distributed separately.

    Returns:
        Fold of each person, counted from 1.
    """
    return {person: (place + first_fold - 1) % num_folds + 1 for place, person in enumerate(people)}


def divide_by_person(
    clips: Sequence[Clip], fold_of: Mapping[str, int], fold: int
) -> tuple[tuple[Clip, ...], tuple[Clip, ...]]:
    """Return the clips of the people outside a fold, to train on, and of those in it, to test on.

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
