"""A page in another language: its texts and descriptions change, and nothing else."""

import pytest

from dfer_hf.language import UnknownLanguageError, language_called, translate_page


def test_texts_and_descriptions_are_said_in_the_other_language():
    page = '<p title="fear">anger</p><img alt="fear" src="fear"><svg aria-label="fear"><path d="fear"/></svg>'
    said = '<p title="Angst">Ärger</p><img alt="Angst" src="fear"><svg aria-label="Angst"><path d="fear"/></svg>'
    assert translate_page(page, "de") == said
    assert translate_page(page, "en") == page


def test_what_is_marked_and_what_is_no_text_stays():
    page = '<style>i > b { fear }</style><div translate="no">fear<br><b title="fear">fear &amp;</b></div><i>fear</i>'
    assert translate_page(page, "de") == page.replace("<i>fear</i>", "<i>Angst</i>")


def test_the_page_says_in_which_language_it_is():
    page = '<!DOCTYPE html>\n<html lang="en">\n<p lang="en" translate="no">fear</p></html>'
    assert translate_page(page, "de") == page.replace('<html lang="en"', '<html lang="de"')


def test_what_could_be_a_tag_stays_a_text():
    assert translate_page('<p title="&lt;fear&gt; &quot;">&lt;b&gt; &amp; fear</p>', "de").count("<") == 2
    assert language_called("de").say("<fear>") == "<fear>"


def test_an_unknown_language_is_refused():
    with pytest.raises(UnknownLanguageError):
        translate_page("<p>fear</p>", "fr")
