"""What is shown of a prediction in German: on the video, and in reports."""

import copy
import re
from dataclasses import replace

import cv2
import numpy as np
import pytest

from dfer_hf.checkpoint_facts import CheckpointFacts, versions
from dfer_hf.comparison import compare
from dfer_hf.explain.words import MOVEMENTS
from dfer_hf.language import language_called, translate_page
from dfer_hf.video import Frame, FrameSpool, probe
from dfer_hf.visualize import (
    COMPARE_TITLE,
    clip_article,
    comparison_article,
    error_article,
    page_foot,
    page_head,
    write_overlay,
)
from dfer_hf.visualize.lettering import drawable

from .test_overlay import clip, face, grey, seen
from .test_report import Page

SAY = language_called("de").say
# Whatever is left in English holds one of these.
ENGLISH = re.compile(
    r"\b(the|of|with|to|and|or|what|how|seen|it|from|by|over|at|made|face|faces|frames?|seconds|pixels|picture|second"
    r"|without|points|expressions?|group|groups|yes|no|none|not|perhaps|model|trained|settings|versions|limits"
    r"|happiness|sadness|anger|surprise|disgust|fear|positive|negative|brows|eyes|nose|cheeks|mouth|lips?)\b",
    re.IGNORECASE,
)


def shown(page):
    """Texts and descriptions of a page, without what is marked to stay as it is."""
    page = re.sub(r'<(\w+)[^>]* translate="no">.*?</\1>|<style>.*?</style>', "", page, flags=re.DOTALL)
    said = re.findall(r'(?:title|alt|aria-label)="([^"]*)"', page)
    return [*said, *re.split(r"<[^>]+>", page)]


def english_of(page):
    return [text for text in shown(page) if ENGLISH.search(text)]


@pytest.fixture(scope="module")
def report(predictor, clips):
    """Everything that a report may say, of clips, a still and a bad file."""
    parts, other = [page_head()], copy.copy(predictor)
    other.name = "other"
    facts = CheckpointFacts("tiny", predictor.groups, ["The portrait of a face."], predictor.settings)
    for name in ("face.webm", "pair.webm", "still.png"):
        with FrameSpool(max_side=320) as spool:
            found = predictor(clips / name, explain=True, on_frame=spool.add)
            moved = dict.fromkeys(MOVEMENTS, 0.4)
            faces = [
                replace(one, is_unsure=is_unsure, explanation=replace(one.explanation, movements=moved))
                for one in found.faces
                for is_unsure in (False, True)
            ]
            parts += [clip_article(replace(found, faces=faces), spool, info=probe(clips / name), checkpoint=facts)]
    parts.append(comparison_article(compare([predictor, other], clips / "face.webm")))
    parts.append(error_article("bad.mp4", "Expected a video, got bad.mp4 with 0 bytes; copy or upload it again."))
    empty = CheckpointFacts("tiny", predictor.groups, [], {})
    return "".join(parts) + page_foot([facts, empty], versions=versions())


def test_nothing_of_a_report_is_left_in_english(report):
    assert len(english_of(report)) > 100
    german = translate_page(report, "de")
    assert english_of(german) == []
    assert Page(german).tags == Page(report).tags
    assert '<html lang="de">' in german
    # What is in a card, and what a file is called, nobody translates.
    assert "The portrait of a face." in german
    assert '<h2 translate="no">face.webm</h2>' in german


def test_titles_of_reports_are_german():
    assert "<title>Gesichtsausdrücke in Videos: ein Bericht</title>" in translate_page(page_head(), "de")
    assert "ein Vergleich</h1>" in translate_page(page_head(title=COMPARE_TITLE), "de")


def test_the_label_on_the_video_says_what_the_page_says(monkeypatch, tmp_path):
    written = []
    monkeypatch.setattr(cv2, "putText", lambda _rgb, text, *_arguments: written.append(text))
    frames = [seen(0), replace(seen(1, group="negative"), is_unsure=True), seen(2)]
    pictures = [Frame(index, index / 10, grey()) for index in range(3)]
    write_overlay(pictures, clip(face(*frames), num_frames=3), tmp_path / "out.webm", language="de")
    assert written == ["Freude 75 %, positiv", "nicht sicher, vielleicht Freude 75 %, negativ", "Freude 75 %, positiv"]
    for label, frame in zip(written, frames, strict=True):
        assert label.startswith(SAY(frame.answer))
        assert label.endswith(f" {SAY(frame.coarse.label)}")


def test_an_overlay_in_an_unknown_language_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match="one of the languages"):
        write_overlay([], clip(), tmp_path / "out.webm", language="fr")
    assert list(tmp_path.iterdir()) == []


def test_umlauts_are_drawn_or_written_in_two_letters(monkeypatch):
    pictures = []
    for text in ("Ärger, Überraschung", "?rger, ?berraschung", "Arger, Uberraschung"):
        drawn = np.zeros((60, 500), dtype=np.uint8)
        cv2.putText(drawn, drawable(text), (10, 40), cv2.FONT_HERSHEY_DUPLEX, 1.0, 255)
        pictures.append(drawn)
    assert (pictures[0] != pictures[1]).any()
    assert (pictures[0] != pictures[2]).any()
    monkeypatch.delattr(cv2, "FontFace", raising=False)
    assert drawable("Ärger, Überraschung 9 %") == "Aerger, Ueberraschung 9 %"
