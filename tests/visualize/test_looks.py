"""Bands are told apart without colour, and everything stands out from what it is drawn on."""

import json
import re
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from dfer_hf.checkpoints import shipped_checkpoints
from dfer_hf.taxonomy import Sentiment
from dfer_hf.visualize import group_looks
from dfer_hf.visualize.canvas import AREA_OPACITY, Canvas
from dfer_hf.visualize.colours import OF_NO_GROUP, PATTERNS, contrast
from dfer_hf.visualize.compare import COMPARE_STYLE
from dfer_hf.visualize.report import PAGE_STYLE
from dfer_hf.visualize.timeline import TIMELINE_STYLE

LIVE_STYLE = (Path(__file__).parents[2] / "page" / "live.css").read_text(encoding="utf-8")
GROUPS = [*(sentiment.value for sentiment in Sentiment), "first", "second", "third", "fourth", "fifth"]
# The page's blocks, from the slate of its theme, and the report's paper and plates.
LIGHT, DARK = [(255, 255, 255), (248, 250, 252), (242, 242, 242)], [(22, 22, 22), (38, 38, 38), (30, 41, 59)]
SCHEMES = {"light": ("on_light", LIGHT), "dark": ("colour", DARK)}
# Text on them: of the report and of the page.
INKS = {"light": [(26, 26, 26), (30, 41, 59)], "dark": [(236, 236, 236), (241, 245, 249)]}


def rgb(text):
    """A colour as CSS writes it: #fff or #ffffff."""
    digits = text.lstrip("#")
    digits = digits if len(digits) == 6 else "".join(2 * digit for digit in digits)
    return tuple(int(digits[start : start + 2], 16) for start in (0, 2, 4))


def over(top, opacity, ground):
    """A colour that lets something of its ground through."""
    return tuple(opacity * above + (1 - opacity) * below for above, below in zip(top, ground, strict=True))


def tinted(style, selector, ground):
    """The ground under what a style sheet lays over it."""
    *colour, opacity = re.search(
        rf"{re.escape(selector)} {{[^}}]*rgba\((\d+), (\d+), (\d+), ([\d.]+)\)", style
    ).groups()
    return over(tuple(map(int, colour)), float(opacity), ground)


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


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("style", [(TIMELINE_STYLE, ".dfer-timeline svg"), (COMPARE_STYLE, ".dfer-compare .lane")])
def test_bands_and_areas_stand_out_from_the_row_they_are_drawn_in(scheme, style):
    name, papers = SCHEMES[scheme]
    for paper in papers:
        ground = tinted(*style, paper)
        for look in (*group_looks(GROUPS).values(), OF_NO_GROUP):
            band = getattr(look, name)
            assert contrast(band, ground) >= 3
            assert contrast(over(band, AREA_OPACITY, ground), ground) >= 3


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_line_that_marks_a_face_not_seen_stands_out(scheme):
    for ink, paper in zip(INKS[scheme], SCHEMES[scheme][1], strict=False):
        row = tinted(TIMELINE_STYLE, ".dfer-timeline svg", paper)
        shade = float(re.search(r'fill-opacity="(\.\d+)"', timeline_of_a_gap()).group(1))
        assert contrast(ink, over(ink, shade, row)) >= 3
        assert contrast(ink, tinted(TIMELINE_STYLE, ".dfer-timeline .chip.unseen", paper)) >= 3
        lane = tinted(COMPARE_STYLE, ".dfer-compare .lane", paper)
        assert contrast(ink, tinted(COMPARE_STYLE, ".dfer-compare .lane i.unseen", lane)) >= 3
        for style, selector in ((TIMELINE_STYLE, ".chip.unseen"), (COMPARE_STYLE, ".lane i.unseen")):
            assert re.search(rf"{re.escape(selector)} {{[^}}]*repeating-linear-gradient\(90deg, currentColor", style)
        # Where systems agree is told by ink, stripes of ink, and nothing in a frame of ink.
        assert contrast(ink, lane) >= 3


def timeline_of_a_gap():
    nowhere = np.array([False])
    return Canvas(np.zeros(1), np.ones(1), 1.0, nowhere).background


def test_the_playhead_can_be_told_from_the_bands_it_passes():
    rule = re.search(r"\.playhead {(.*?)}", TIMELINE_STYLE, re.DOTALL).group(1)
    assert "border: 1px solid var(--band-paper)" in rule
    heads = map(rgb, re.search(r"background: light-dark\((#\w+), (#\w+)\)", rule).groups())
    borders = map(rgb, re.search(r"--band-paper: light-dark\((#\w+), (#\w+)\)", TIMELINE_STYLE).groups())
    for head, border in zip(heads, borders, strict=True):
        assert contrast(head, border) >= 3


@pytest.mark.parametrize("pattern", PATTERNS[1:])
def test_a_pattern_is_drawn_in_bands_lanes_and_legends(pattern):
    rules = TIMELINE_STYLE.split("}")
    assert any(f"path:is({', '.join(f'.{name}' for name in PATTERNS[1:])})" in rule for rule in rules)
    assert any(f".chip.{pattern} {{" in rule for rule in rules)
    lanes = f"i:is({', '.join(f'.{name}' for name in PATTERNS[1:])})::after"
    assert lanes in COMPARE_STYLE
    own = [re.sub(r".*?{", "", rule, count=1) for rule in rules if re.search(rf"(chip|path)\.{pattern} {{", rule)]
    others = [rule for rule in rules if re.search(r"chip\.\w+ {", rule) and f".{pattern} {{" not in rule]
    assert own
    assert not any(rule in other for rule in own for other in others)


@pytest.mark.parametrize("name", shipped_checkpoints())
def test_groups_of_a_checkpoint_have_each_a_pattern_of_their_own(name):
    groups = json.loads(Path(shipped_checkpoints()[name], "config.json").read_text(encoding="utf-8"))["groups"]
    patterns = [look.pattern for look in group_looks(groups).values()]
    assert len(set(patterns)) == len(patterns) >= 3


@pytest.mark.parametrize("scheme", range(2), ids=["light", "dark"])
def test_bars_of_the_camera_stand_out_from_what_is_left_of_them(scheme):
    rule = re.search(r"\.bars i {(.*?)}", LIVE_STYLE, re.DOTALL).group(1)
    bar = rgb(re.search(r"light-dark\((#\w+), (#\w+)\)", rule).groups()[scheme])
    # The theme's colour of borders, from its slate.
    assert contrast(bar, [(226, 232, 240), (51, 65, 85)][scheme]) >= 3
