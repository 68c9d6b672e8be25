import base64
import dataclasses
import io
import re
from datetime import date
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dfer_hf import FacePrediction, FramePrediction, Scores
from dfer_hf.checkpoint_facts import CheckpointFacts, trained_on, versions
from dfer_hf.checkpoints import shipped_checkpoints
from dfer_hf.video import Frame, probe, read_frames
from dfer_hf.visualize import clip_article, error_article, page_foot, page_head, strip_html
from dfer_hf.visualize.strip import key_frames
from dfer_hf.visualize.text import LIMITS_OF_USE, points

RESPONSIBLE_USE = Path(__file__).parents[2] / "docs" / "responsible-use.md"
VOID = {"meta", "img", "br", "rect", "path"}


class Page(HTMLParser):
    """Fails on tags that do not close, and keeps what tests ask for."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.pictures, self.sources, self.words = [], set(), [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.tags.add(tag)
        self.sources += [found[name] for name in ("src", "href", "data", "action") if name in found]
        if tag == "img":
            self.pictures.append(found)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def checkpoint(predictor):
    return CheckpointFacts("tiny", predictor.groups, ["Clips of <one> portrait."], predictor.settings)


@pytest.fixture(scope="module")
def make_page(clips, checkpoint):
    frames, info = list(read_frames(clips / "face.webm")), probe(clips / "face.webm")

    def make(prediction, *others):
        article = clip_article(prediction, frames, info=info, checkpoint=checkpoint)
        foot = page_foot([checkpoint], versions=versions())
        return page_head(made_on=date(2026, 11, 26)) + "".join([article, *others]) + foot

    return make


def face(weights, *, seconds=0.1):
    scores = Scores({"happiness": 0.7, "fear": 0.3})
    frames = (
        FramePrediction(i, i * seconds, (0.0, 0.0, 9.0, 9.0), scores, scores, weight=weight)
        for i, weight in enumerate(weights)
    )
    return FacePrediction(0, scores, scores, tuple(frames))


def test_a_report_holds_everything_and_asks_for_nothing(make_page, prediction):
    page = Page(make_page(prediction))
    assert page.tags.isdisjoint({"script", "link", "iframe", "object", "video"})
    assert all(source.startswith("data:image/jpeg;base64,") for source in page.sources)
    found = prediction.faces[0]
    for said in (
        "face.webm",
        found.answer,
        *(f"{value:.1%}" for value in (*found.fine.probabilities.values(), *found.coarse.probabilities.values())),
        "2.4 seconds, 24 frames",
        "160×120 pixels",
        "tiny",
        "Clips of <one> portrait.",
        "arcface_112",
        versions()["torch"],
        "2026-11-26",
        "An expression is not an emotion.",
        "Article 5(1)(f) of the EU AI Act",
    ):
        assert said in page.text
    assert "Answers: " in page.text


def test_its_pictures_show_the_face_and_say_what_they_show(make_page, prediction):
    page = Page(make_page(prediction))
    assert len(page.pictures) == len(key_frames(prediction.faces[0])) > 1
    for picture in page.pictures:
        cost = r"(falls|rises) by [\d.]+ points without it"
        assert re.match(rf"The face at \d\.\d s: .+; {cost}, with what speaks for \w+ marked$", picture["alt"])
        image = Image.open(io.BytesIO(base64.b64decode(picture["src"].partition(",")[2])))
        assert max(image.size) == 200
        assert np.asarray(image).std() > 20


def test_names_of_files_cannot_become_markup(make_page, prediction):
    name = "<script>alert(1)</script>\"'&amp;.mp4"
    strange = dataclasses.replace(prediction, source=name, warnings=("<img src=x onerror=alert(1)>",))
    page = Page(make_page(strange, error_article(name, f"Expected a video, got {name}.")))
    assert "script" not in page.tags
    assert all(picture["src"].startswith("data:") for picture in page.pictures)
    assert page.text.count(name) == 3
    assert "Careful: <img src=x onerror=alert(1)>" in page.text


def test_a_picture_has_no_timeline_and_a_bad_file_its_reason(clips, predictor, checkpoint):
    found = predictor(clips / "still.png", explain=True)
    frames = list(read_frames(clips / "still.png"))
    article = clip_article(found, frames, info=probe(clips / "still.png"), checkpoint=checkpoint)
    assert "dfer-timeline" not in article
    assert len(Page(article).pictures) == 1
    assert "100% of the weight" in Page(article).text
    assert Page(error_article("bad.mp4", "It is empty.")).text == "bad.mp4 It is empty."


def test_the_frames_that_counted_most_are_not_all_neighbours():
    chosen = key_frames(face([0.01, 0.3, 0.29, 0.01, 0.01, 0.2, 0.01, 0.0, 0.07, 0.1]), most=3)
    assert [frame.frame_index for frame in chosen] == [1, 5, 9]
    assert [frame.frame_index for frame in key_frames(face([0.0, 1.0]))] == [1]


def test_a_strip_is_drawn_on_frames_that_were_shrunken():
    # A face of 80 pixels in the original is one of 20 here.
    rgb = np.full((60, 80, 3), 100, dtype=np.uint8)
    seen = dataclasses.replace(face([1.0]).frames[0], box=(40.0, 40.0, 120.0, 120.0))
    one = dataclasses.replace(face([1.0]), frames=(seen,))
    (picture,) = Page(strip_html(one, [Frame(0, 0.0, rgb, scale=4.0)], name="The face")).pictures
    image = np.asarray(Image.open(io.BytesIO(base64.b64decode(picture["src"].partition(",")[2]))).convert("L"))
    drawn = np.abs(image.astype(int) - 100) > 40
    # The box stands in the middle, with grey around and within.
    assert drawn[:, 90:110].any(axis=1).sum() > 10
    assert not drawn[:10].any()
    assert not drawn[95:105, 95:105].any()


def test_limits_are_those_of_the_manual():
    said = " ".join(RESPONSIBLE_USE.read_text(encoding="utf-8").split())
    assert all(paragraph in said for paragraph in LIMITS_OF_USE)


def test_every_shipped_card_says_what_the_checkpoint_was_trained_on():
    for name, folder in shipped_checkpoints().items():
        paragraphs = trained_on((folder / "README.md").read_text(encoding="utf-8"))
        assert paragraphs, name
        assert not any(mark in paragraph for paragraph in paragraphs for mark in ("](", "**", "`", "## "))
    assert trained_on("# Mine\n\nA model.\n") == []


@pytest.mark.parametrize(("share", "said"), [(-1e-5, "0.0"), (0.0, "0.0"), (-0.0213, "-2.1"), (0.347, "35")])
def test_points_of_a_probability_have_a_sign_only_if_there_is_a_difference(share, said):
    assert points(share) == f"{said} points"
