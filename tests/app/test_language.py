"""The page in another language: every sentence of it has one, in one file."""

import json
import re
from dataclasses import replace
from html import escape, unescape
from pathlib import Path

import pytest

from dfer_hf.analysis import AnalysisWorkers
from dfer_hf.faces.quality import FaceQuality
from dfer_hf.language import LANGUAGES, language_called, read_tables
from dfer_hf.taxonomy import SEVEN_EMOTIONS, Sentiment
from dfer_hf.video import VideoError, probe
from dfer_hf.visualize import TABLE_HEADERS
from dfer_hf.visualize.text import LIMITS_OF_USE

from .browsing import browsing
from .visits import LIMITS

gradio = pytest.importorskip("gradio", reason="the app needs gradio")

import app  # noqa: E402

GERMAN = read_tables()["de"]
GAP = r"\{n?\}"
PATTERNS = [
    re.compile("(?:(?!\\. ).)+?".join(map(re.escape, re.split(GAP, english))) + "$")
    for english in GERMAN
    # Those that say hardly more than what is in their gaps would fit anything.
    if len(re.sub(rf"{GAP}|[ ·(),:;%×]|or|s", "", english)) > 1
]


def sentences(text):
    """The parts of a text that are translated each for itself, without Markdown and tags."""
    text = unescape(re.sub(r'<(\w+)[^>]* translate="no".*?</\1>', "", text))
    for block in re.split(r"\n\n|\*\*|<[^>]+>", text):
        text = " ".join(block.lstrip("# ").split())
        yield from [text] if is_known(text) else re.split(r"(?<=[.!?]) ", text)


def is_known(sentence):
    return not re.search(r"[^\W\d]", sentence) or any(pattern.match(sentence) for pattern in PATTERNS)


def texts_of(demo):
    """What the parts of a page say before anything is pressed."""
    for component in demo.config["components"]:
        given = component["props"]
        yield from (given[name] for name in ("label", "placeholder") if isinstance(given.get(name), str))
        if component["type"] in ("button", "downloadbutton", "markdown", "html") and isinstance(
            given.get("value"), str
        ):
            yield given["value"]
        yield from (choice[0] for choice in given.get("choices") or [])


def test_every_text_of_the_page_has_a_german_one(tmp_path):
    demo = app.build_demo(AnalysisWorkers({"first-model": tmp_path, "second-model": tmp_path}))
    texts = set(texts_of(demo))
    assert len(texts) > 25
    shown = [sentence for text in texts for sentence in sentences(text)]
    shown += [*SEVEN_EMOTIONS, *(sentiment.value for sentiment in Sentiment), *TABLE_HEADERS]
    own = {"first-model", "second-model", "English", "Deutsch", "Language / Sprache", *LANGUAGES}
    assert [text for text in shown if not is_known(str(text)) and text not in own] == []


def test_a_translation_has_the_gaps_of_its_original():
    assert [english for english, german in GERMAN.items() if re.findall(GAP, english) != re.findall(GAP, german)] == []


def test_a_text_without_translation_would_be_noticed():
    assert not is_known("Nobody ever translated this.")


@pytest.mark.parametrize("file", ["sound.wav", "text.mp4", "empty.mp4", "broken.webm", "long.webm"])
def test_a_refusal_has_a_german_text(bad_files, file):
    with pytest.raises(VideoError) as refused:
        probe(bad_files / file, limits=LIMITS)
    assert [sentence for sentence in sentences(str(refused.value)) if not is_known(sentence)] == []


def test_what_is_said_of_a_face_that_is_seen_badly_has_a_german_text():
    small = FaceQuality(12.0, 0.0, 170.0, 80.0, template_distance=0.0, coverage=0.01, confidence=0.1)
    blurred = replace(small, size_pixels=200.0, roll_degrees=90.0)
    problems = [*small.problems, *blurred.problems]
    assert len(problems) == 10
    assert [problem for problem in problems if not is_known(problem)] == []


def test_what_the_page_asks_for_is_in_the_language_it_is_read_in(tmp_path):
    demo = app.build_demo(AnalysisWorkers({"first-model": tmp_path, "second-model": tmp_path}))
    asked = {each["api_name"]: each for each in demo.config["dependencies"]}
    for name in ("analyse", "compare", "explain_shown"):
        assert "document.documentElement.lang" in asked[name]["js"]
        last = next(each for each in demo.config["components"] if each["id"] == asked[name]["inputs"][-1])
        assert [value for value, _ in last["props"]["choices"]] == ["en", *read_tables()]


@pytest.mark.slow
def test_the_browser_and_the_server_say_the_same():
    filled = [english.replace("{n}", "12.5") for english in GERMAN]
    texts = [english.replace("{}", filling) for english in filled for filling in ("fear", "Map, 3%", "clip (1).mp4")]
    texts += ["0.8 s: neutral, or surprise (neutral 68%, surprise 29%)", "groups over time: positive 5% to 9%"]
    names = ("'Dr. No, fear.mp4'", '"it\'s 1.5.mp4"')
    texts += [f"Expected a face in {name}, but none was found in 9 frames." for name in names]
    texts += ["0.4", "-12.50", "7", "0.0 s", "2.14.1", *LIMITS_OF_USE]
    script = (Path(app.__file__).parent / "page" / "language.js").read_text(encoding="utf-8")
    paragraphs = "".join(f"<p>{escape(text)}</p>" for text in texts)
    with browsing() as browser:
        page = browser.new_page(locale="de-DE")
        page.set_content(
            f"<main>{paragraphs}</main><script>const TABLES = {json.dumps(read_tables())};{script}</script>"
        )
        said = page.locator("main p").all_text_contents()
    assert len(set(said) - set(texts)) > 300
    here = [language_called("de").say(text) for text in texts]
    assert [pair for pair in zip(texts, said, here, strict=True) if pair[1] != pair[2]] == []
