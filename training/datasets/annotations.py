"""Read lists of clips and labels in the formats in circulation, recognised by their content; errors name the line."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from dfer_hf.taxonomy import Emotion
from training.datasets.corpus import Clip, CorpusError
from training.datasets.labels import emotion_named

_HEADERS = frozenset({"label", "labels", "id"})
"""Names of the column of labels in the csv files that have a header."""


@dataclass(frozen=True)
class ListedClip:
    """One line of a list.

    Args:
        clip: Name or path of the clip, with forward slashes.
        label: A number or a name, as the list has it.
        file: The list.
        line: Its line, counted from 1.
    """

    clip: str
    label: str
    file: Path
    line: int

    @cached_property
    def path(self) -> PurePosixPath:
        """The clip as a path, whichever system's slashes the list has."""
        return PurePosixPath(self.clip)

    @property
    def place(self) -> str:
        """File and line, for a message."""
        return f"line {self.line} of {self.file}"

    def error(self, expected: str, came: str) -> CorpusError:
        """Say what is wrong with this line."""
        return _line_error(self.file, self.line, expected, came)


def find_lists(title: str, root: Path, layouts: Sequence[tuple[str, str]]) -> tuple[Path, Path]:
    """Find the lists of training and test clips in the first layout that has both.

    Args:
        layouts: Training list and test list, relative to `root`, the official release first.

    Raises:
        CorpusError: If there is no such layout, or one list without the other; the message says what was looked for.
    """
    pairs = [(root / train, root / test) for train, test in layouts]
    halves = []
    for train, test in pairs:
        found = [path for path in (train, test) if path.is_file()]
        if len(found) == 2:
            return train, test
        if found:
            halves.append((found[0], test if found[0] == train else train))
    if halves:
        there, missing = halves[0]
        raise CorpusError(f"Expected {missing} beside {there}, found none. Copy this split file of {title} there.")
    raise not_the_root(title, root, [f"{train} with {test}" for train, test in layouts])


def not_the_root(title: str, root: Path, looked_for: Iterable[str]) -> CorpusError:
    """Say what was looked for in a folder that is not the release."""
    if root.is_dir():
        names = sorted(path.name for path in root.iterdir())
        holds = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
        came = f"the folder holds {holds or 'nothing'}"
    else:
        came = "there is no such folder"
    return CorpusError(
        f"Expected the folder of {title} at {root}, but {came}. Looked for: {'; '.join(looked_for)}. "
        "Pass the folder that holds one of these."
    )


def read_list(file: Path) -> list[ListedClip]:
    """Read a list of clips in the known format that its first line has.

    These are comma separated `clip,label` with or without a header; tab separated `clip`, label and captions (as in
    MAFW with captions); space separated `path num_frames label` (as of Former-DFER, IAL and DFER-CLIP); and space
    separated `clip label` (as of FERV39k, MAFW and VideoMAE). Text is UTF-8, with or without a byte order mark, or
    GB18030, which is a superset of GBK.

    Raises:
        CorpusError: If the list is empty, of another encoding, or a line is of another format than the first.
    """
    lines = [(number, text) for number, text in enumerate(_read_text(file).split("\n"), start=1) if text.strip()]
    if not lines:
        raise CorpusError(f"Expected clips and labels in {file}, got an empty file. Copy it again.")
    first = lines[0][1]
    if "\t" in first:
        clips = [_split_at_tabs(file, *line) for line in lines]
    elif "," in first:
        clips = [_split_at_comma(file, *line) for line in lines]
        if clips[0].label.lower() in _HEADERS:
            del clips[0]
    else:
        has_counts = _ends_with_two_numbers(first)
        clips = [_split_at_spaces(file, *line, has_counts=has_counts) for line in lines]
    if not clips:
        raise CorpusError(f"Expected clips and labels in {file}, got a header alone. Copy it again.")
    return clips


def emotions_by_folder(clips: Sequence[ListedClip], orders: Mapping[str, Sequence[Emotion]]) -> list[Emotion]:
    """Label each clip by the class folder in its path, `…/<class>/<clip>`, and compare it with the list's label.

    What a number means depends on the order of the classes, and several are in circulation: one of `orders` has to
    agree with the folders of all clips.

    Raises:
        CorpusError: If a folder is no class, or the label of a line contradicts its folder.
    """
    fitting = dict(orders)
    classes = next(iter(orders.values()))
    emotions = []
    for listed in clips:
        if len(listed.path.parts) < 2:
            raise listed.error("a path that ends in <class>/<clip>", repr(listed.clip))
        folder = listed.path.parent.name
        emotion = emotion_named(folder, listed.place, classes)
        if _is_number(listed.label):
            before, number = fitting, int(listed.label)
            fitting = {
                name: order for name, order in before.items() if 0 <= number < len(order) and order[number] == emotion
            }
            if not fitting:
                raise listed.error(
                    f"the number of the folder's class {folder} in the order of the lines above "
                    f"({' or '.join(before)})",
                    f"the number {number}",
                )
        elif emotion_named(listed.label, listed.place, classes) != emotion:
            raise listed.error(f"the class of its folder, {folder}", repr(listed.label))
        emotions.append(emotion)
    return emotions


def label_number(listed: ListedClip) -> int:
    """Read a label that has to be a number.

    Raises:
        CorpusError: If it is none.
    """
    if not _is_number(listed.label):
        raise listed.error("a number as label", repr(listed.label))
    return int(listed.label)


def five_digits(listed: ListedClip) -> str:
    """Name a numbered clip by five digits, whatever folder and suffix the list gives it.

    Raises:
        CorpusError: If it has no number.
    """
    stem = listed.path.stem
    if not _is_number(stem):
        raise listed.error("a clip named by a number, such as 00042", repr(listed.clip))
    return f"{int(stem):05d}"


def check_apart(title: str, train: Sequence[Clip], test: Sequence[Clip]) -> None:
    """Refuse clips that are listed twice, or both to train on and to test on.

    Raises:
        CorpusError: If there are any; the message names the first.
    """
    for part, clips in (("training", train), ("test", test)):
        seen: set[str] = set()
        twice = [clip.name for clip in clips if clip.name in seen or seen.add(clip.name)]
        if twice:
            raise CorpusError(
                f"Expected every clip of {title} once, got {twice[0]} twice in {part}"
                f"{_and_more(twice)}. Copy the split files of the release again."
            )
    both = sorted({clip.name for clip in train} & {clip.name for clip in test})
    if both:
        raise CorpusError(
            f"Expected no clip of {title} in both training and test, got {both[0]} in both{_and_more(both)}. "
            "Copy the split files of the release again; both have to be of the same fold."
        )


def _and_more(names: Sequence[str]) -> str:
    return f" and {len(names) - 1} more" if len(names) > 1 else ""


def _read_text(file: Path) -> str:
    data = file.read_bytes()
    with suppress(UnicodeDecodeError):
        return data.decode("utf-8-sig")
    try:
        return data.decode("gb18030")
    except UnicodeDecodeError as error:
        raise CorpusError(
            f"Expected text in UTF-8 or GB18030 in {file}, got neither. Copy the file of the release again."
        ) from error


def _split_at_tabs(file: Path, number: int, text: str) -> ListedClip:
    fields = text.split("\t")
    if len(fields) < 2:
        raise _line_error(file, number, "a clip, a tab and a label", repr(text))
    return _listed(file, number, text, clip=fields[0], label=fields[1])


def _split_at_comma(file: Path, number: int, text: str) -> ListedClip:
    fields = next(csv.reader([text]))
    if len(fields) != 2:
        raise _line_error(file, number, "a clip, a comma and a label", repr(text))
    return _listed(file, number, text, clip=fields[0], label=fields[1])


def _split_at_spaces(file: Path, number: int, text: str, *, has_counts: bool) -> ListedClip:
    if has_counts != _ends_with_two_numbers(text):
        expected = "<path> <number of frames> <label>" if has_counts else "<clip> <label>"
        raise _line_error(file, number, f"{expected}, as in the first line", repr(text))
    fields = text.strip().rsplit(maxsplit=2 if has_counts else 1)
    if len(fields) < 2:
        raise _line_error(file, number, "a clip, a space and a label", repr(text))
    return _listed(file, number, text, clip=fields[0], label=fields[-1])


def _listed(file: Path, number: int, text: str, *, clip: str, label: str) -> ListedClip:
    if not clip.strip() or not label.strip():
        raise _line_error(file, number, "a clip and a label", repr(text))
    return ListedClip(clip.strip().replace("\\", "/"), label.strip(), file, number)


def _line_error(file: Path, number: int, expected: str, came: str) -> CorpusError:
    return CorpusError(f"Expected {expected} in line {number} of {file}, got {came}. Correct or replace the file.")


def _ends_with_two_numbers(text: str) -> bool:
    fields = text.rsplit(maxsplit=2)
    return len(fields) == 3 and _is_number(fields[1]) and _is_number(fields[2])


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()
