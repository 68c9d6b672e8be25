"""Say English texts in another language, by the rule that `page/language.js` follows in the browser."""

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

_FILES = {"de": "german.json"}

LANGUAGES: tuple[str, ...] = ("en", *_FILES)
"""Names of languages, as HTML calls them."""

# `{}` is for words of one sentence, `{n}` for a number.
_GAP = re.compile(r"\{n?\}")
_WORDS, _NUMBER = r"((?:(?!\. ).)+?)", r"(-?[\d.]+)"
_DECIMAL = re.compile(r"-?\d+\.\d+")
_DECIMAL_SIGN = "decimal sign"
"""Under this a table has the sign with which its language writes decimals."""
# Whole numbers alone are the same everywhere; percentages are not.
_SAID = re.compile(rf"[^\W\d_]|%|^{_DECIMAL.pattern}$")
# Names of files in quotation marks are the same in every language, whatever they hold.
_QUOTED = re.compile(r"""(?<!\w)(?:'[^'\n]*'|"[^"\n]*")(?!\w)""")
_FIRST_MARK = 0xE000
# Sentences, items of a list, and the parts of an item: where a text is split, and how the parts are joined again.
_SPLITS = (
    (re.compile(r"(?<=[.!?]) (?!\d)"), " "),
    *((re.compile(between), between) for between in ("; ", ": ", ", ")),
)
_MOST_REMEMBERED = 4096


class UnknownLanguageError(ValueError):
    """A language that nothing is said in."""


class Language:
    """Says English texts in one language.

    Args:
        name: As HTML calls it.
        table: English text to the other, with gaps for words and numbers; English needs none.
    """

    def __init__(self, name: str, table: Mapping[str, str]) -> None:
        self.name, self.table = name, table
        with_gaps = [english for english in table if _GAP.search(english)]
        # The more is said beside the gaps, the better it fits.
        with_gaps.sort(key=lambda english: -len(_GAP.sub("", english)))
        self._patterns = [(_pattern(english), table[english]) for english in with_gaps]
        self._decimal_sign = table.get(_DECIMAL_SIGN, ".")
        self._translated = lru_cache(_MOST_REMEMBERED)(self._translate)

    def say(self, text: str) -> str:
        """Say a text in this language, as far as the table has it as a whole, or its sentences, items and parts."""
        trimmed = " ".join(text.split())
        if not self.table or not _SAID.search(trimmed):
            return text
        quoted = _QUOTED.findall(trimmed)
        marks = map(chr, range(_FIRST_MARK, _FIRST_MARK + len(quoted)))
        other = self._translated(_QUOTED.sub(lambda _: next(marks), trimmed))
        for place, name in enumerate(quoted):
            other = other.replace(chr(_FIRST_MARK + place), name)
        return text if other == trimmed else text.replace(text.strip(), other, 1)

    def _translate(self, text: str) -> str:
        whole = self._exactly(text)
        if whole is not None:
            return whole
        for between, joined in _SPLITS:
            parts = between.split(text)
            others = [self._translated(part) for part in parts] if len(parts) > 1 else parts
            if others != parts:
                return joined.join(others)
        return text

    def _exactly(self, text: str) -> str | None:
        """What the table has for this very text."""
        if text in self.table:
            return self.table[text]
        if _DECIMAL.fullmatch(text):
            return text.replace(".", self._decimal_sign)
        for pattern, other in self._patterns:
            found = pattern.fullmatch(text)
            if found is not None:
                fillings = iter(found.groups())
                return _GAP.sub(lambda _: self._translated(next(fillings)), other)  # noqa: B023  used at once
        return None


def _pattern(english: str) -> re.Pattern[str]:
    """What a text with gaps matches."""
    gaps = [_NUMBER if gap == "{n}" else _WORDS for gap in _GAP.findall(english)]
    between = [re.escape(part) for part in _GAP.split(english)]
    return re.compile("".join(part + gap for part, gap in zip(between, [*gaps, ""], strict=True)))


def read_tables() -> dict[str, dict[str, str]]:
    """Read what the languages other than English have for English texts."""
    folder = Path(__file__).parent
    return {name: json.loads((folder / file).read_text(encoding="utf-8")) for name, file in _FILES.items()}


@lru_cache
def language_called(name: str) -> Language:
    """The language of a name.

    Raises:
        UnknownLanguageError: If nothing is said in it.
    """
    if name not in LANGUAGES:
        raise UnknownLanguageError(f"Expected one of the languages {', '.join(LANGUAGES)}, got {name!r}. Name one.")
    return Language(name, read_tables().get(name, {}))
