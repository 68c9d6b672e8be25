"""Texts in another language: whole, by sentence, by item, and with what stands in their gaps."""

import pytest

import dfer_cli
from dfer_hf.explain.words import MOVEMENTS, PARTS
from dfer_hf.language import LANGUAGES, Language, UnknownLanguageError, language_called, read_tables
from dfer_hf.taxonomy import SEVEN_EMOTIONS, Sentiment

TABLE = {
    "decimal sign": ",",
    "fear": "Angst",
    "anger": "Ärger",
    "{}, or {}": "{} oder {}",
    "{} {n}%": "{} {n} %",
    "Not seen.": "Nicht zu sehen.",
    "{} for {n} s.": "{} {n} s lang.",
    "{} for {n} s, at most.": "{} höchstens {n} s lang.",
}


@pytest.mark.parametrize(
    ("english", "german"),
    [
        ("fear", "Angst"),
        ("  fear\n", "  Angst\n"),
        ("Not seen. fear for 1.5 s.", "Nicht zu sehen. Angst 1,5 s lang."),
        # What says more beside its gaps fits better.
        ("fear for 1.5 s, at most.", "Angst höchstens 1,5 s lang."),
        ("1: fear, or anger 42%, anger", "1: Angst oder Ärger 42 %, Ärger"),
        ("fear for long.", "fear for long."),
        # Names of files stay as they are, whatever they say.
        ("'anger, fear. mp4' for 1.5 s.", "'anger, fear. mp4' 1,5 s lang."),
        ('Not seen. "it\'s fear.mp4" for 2 s.', 'Nicht zu sehen. "it\'s fear.mp4" 2 s lang.'),
        ("Peter's fear", "Peter's fear"),
        ("2.5", "2,5"),
        ("25", "25"),
        ("torch 2.8, 2.14.1", "torch 2.8, 2.14.1"),
        ("", ""),
    ],
)
def test_a_text_is_said_as_far_as_the_table_has_it(english, german):
    assert Language("xx", TABLE).say(english) == german
    assert Language("en", {}).say(english) == english


def test_a_sentence_goes_on_behind_what_is_short_for_something():
    table = {"It is weak (Barrett et al. 2019).": "Es ist schwach (Barrett et al. 2019).", "Why?": "Warum?"}
    assert Language("xx", table).say("Why? It is weak (Barrett et al. 2019).").startswith("Warum? Es ist")


def test_an_unknown_language_is_refused():
    with pytest.raises(UnknownLanguageError, match="one of the languages en, de, got 'fr'"):
        language_called("fr")


def test_the_command_offers_every_language():
    assert tuple(dfer_cli._LANGUAGES) == LANGUAGES == ("en", *read_tables())


@pytest.mark.parametrize("name", LANGUAGES[1:])
def test_every_label_part_and_movement_is_said(name):
    language = language_called(name)
    texts = [*SEVEN_EMOTIONS, *(sentiment.value for sentiment in Sentiment), *PARTS, *MOVEMENTS, *MOVEMENTS]
    unsaid = [text for text in texts if text not in language.table]
    # What lies outside the parts of a face is never named.
    assert unsaid == ["elsewhere"]
