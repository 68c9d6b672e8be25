"""Say a page in another language: its texts, and what attributes say to those who cannot see."""

import re
from html import escape, unescape
from html.parser import HTMLParser

from .words import Language, language_called

# As `page/language.js` has them.
_ATTRIBUTE = re.compile(r'(?<= )(aria-label|aria-valuetext|alt|title|placeholder)="([^"]*)"')
_WITHOUT_END = frozenset({"br", "col", "hr", "img", "input", "link", "meta", "source", "wbr"})


def translate_page(page: str, language: str) -> str:
    """Say a page, or parts of one, in another language.

    What is marked by `translate="no"` stays as it is.

    Args:
        page: HTML in English, with double quotes around the values of attributes.
        language: One of `LANGUAGES`.

    Raises:
        UnknownLanguageError: If nothing is said in that language.
    """
    spoken = language_called(language)
    if not spoken.table:
        return page
    translator = _Translator(spoken)
    translator.feed(page)
    translator.close()
    return "".join(translator.parts)


class _Translator(HTMLParser):
    """Collects the parts of a page in another language."""

    def __init__(self, language: Language) -> None:
        super().__init__()
        self.language = language
        self.parts: list[str] = []
        # Elements that are open and stay as they are, the outermost first.
        self.kept: list[str] = []

    def handle_decl(self, decl: str) -> None:
        self.parts.append(f"<!{decl}>")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        is_kept = bool(self.kept) or tag in ("script", "style") or ("translate", "no") in attrs
        if is_kept and tag not in _WITHOUT_END:
            self.kept.append(tag)
        text = self.get_starttag_text() or ""
        if not is_kept:
            text = _ATTRIBUTE.sub(self._attribute, text)
        if tag == "html":
            text = text.replace('lang="en"', f'lang="{self.language.name}"')
        self.parts.append(text)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        is_kept = bool(self.kept) or ("translate", "no") in attrs
        text = self.get_starttag_text() or f"<{tag}/>"
        self.parts.append(text if is_kept else _ATTRIBUTE.sub(self._attribute, text))

    def handle_endtag(self, tag: str) -> None:
        if self.kept:
            self.kept.pop()
        self.parts.append(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        if self.kept and self.kept[-1] in ("script", "style"):
            self.parts.append(data)
        else:
            self.parts.append(escape(data if self.kept else self.language.say(data)))

    def _attribute(self, found: re.Match[str]) -> str:
        return f'{found[1]}="{escape(self.language.say(unescape(found[2])))}"'
