"""Bands are told apart without colour, and everything stands out from what it is drawn on."""

import re
from itertools import combinations

import pytest

from dfer_hf.taxonomy import Sentiment
from dfer_hf.visualize import group_looks
from dfer_hf.visualize.colours import contrast
from dfer_hf.visualize.compare import COMPARE_STYLE
from dfer_hf.visualize.report import PAGE_STYLE
from dfer_hf.visualize.timeline import TIMELINE_STYLE

GROUPS = [*(sentiment.value for sentiment in Sentiment), "first", "second", "third", "fourth", "fifth"]
# The page's blocks, from the slate of its theme, and the report's paper and plates.
LIGHT, DARK = [(255, 255, 255), (248, 250, 252), (242, 242, 242)], [(22, 22, 22), (38, 38, 38), (30, 41, 59)]


def rgb(text):
    """A colour as CSS writes it: #fff or #ffffff."""
    digits = text.lstrip("#")
    digits = digits if len(digits) == 6 else "".join(2 * digit for digit in digits)
    return tuple(int(digits[start : start + 2], 16) for start in (0, 2, 4))


def test_contrast_is_that_of_the_guidelines():
    assert contrast((255, 255, 255), (0, 0, 0)) == pytest.approx(21)
    assert contrast((0x76, 0x76, 0x76), (255, 255, 255)) == pytest.approx(4.54, abs=0.01)


@pytest.mark.parametrize("group", GROUPS)
def test_a_band_stands_out_from_light_and_dark_paper(group):
    look = group_looks(GROUPS)[group]
    assert min(contrast(look.on_light, paper) for paper in LIGHT) >= 3
    assert min(contrast(look.colour, paper) for paper in DARK) >= 3
    assert look.css == f"light-dark(rgb{look.on_light}, rgb{look.colour})"


@pytest.mark.parametrize("group", GROUPS)
def test_words_in_a_band_of_the_comparison_can_be_read(group):
    look = group_looks(GROUPS)[group]
    on_dark_band, on_light_band = map(rgb, re.search(r"color: light-dark\((#\w+), (#\w+)\)", COMPARE_STYLE).groups())
    assert contrast(look.on_light, on_dark_band) >= 4.5
    assert contrast(look.colour, on_light_band) >= 4.5


def test_what_parts_bands_and_draws_their_patterns_has_the_colour_of_the_paper():
    light, dark = map(rgb, re.search(r"--band-paper: light-dark\((#\w+), (#\w+)\)", TIMELINE_STYLE).groups())
    for look in group_looks(GROUPS).values():
        assert contrast(look.on_light, light) >= 3
        assert contrast(look.colour, dark) >= 3


def test_the_usual_groups_have_each_a_pattern_of_their_own():
    looks = group_looks(sentiment.value for sentiment in Sentiment)
    assert all(first.pattern != second.pattern for first, second in combinations(looks.values(), 2))


def test_the_playhead_stands_out():
    light, dark = map(rgb, re.search(r"background: light-dark\((#\w+), (#\w+)\)", TIMELINE_STYLE).groups())
    assert min(contrast(light, paper) for paper in LIGHT) >= 3
    assert min(contrast(dark, paper) for paper in DARK) >= 3


@pytest.mark.parametrize("scheme", range(2), ids=["light", "dark"])
def test_text_of_a_report_can_be_read(scheme):
    colours = [dict(re.findall(r"--(\w+): (#\w+)", block)) for block in re.findall(r":root \{(.*?)\}", PAGE_STYLE)]
    chosen = {name: rgb(value) for name, value in colours[scheme].items()}
    for paper in ("paper", "plate"):
        assert contrast(chosen["ink"], chosen[paper]) >= 4.5
        assert contrast(chosen["soft"], chosen[paper]) >= 4.5
    assert contrast(chosen["line"], chosen["paper"]) >= 3
