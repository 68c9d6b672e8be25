"""Other languages than English: sentences from one table each, for the page, its videos and its reports."""

from .pages import translate_page
from .words import LANGUAGES, Language, UnknownLanguageError, language_called, read_tables

__all__ = ["LANGUAGES", "Language", "UnknownLanguageError", "language_called", "read_tables", "translate_page"]
