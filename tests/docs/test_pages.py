"""Pages of the manual hold together: links lead somewhere, blocks are run or say why not, figures are fresh."""

import importlib.util
import re
import xml.etree.ElementTree as ElementTree

import pytest
import yaml

from .pages import (
    MANUAL,
    NOT_RUN,
    PAGES,
    ROOT,
    RUN,
    SHOWN,
    blocks_of,
    github_anchor,
    headings_of,
    links_of,
    name_of,
    site_anchor,
)

TOOLS = ROOT / "docs" / "tools"
EVERY_PAGE = pytest.mark.parametrize("page", PAGES, ids=name_of)


def tool(name):
    """A script of the manual, which is no package."""
    spec = importlib.util.spec_from_file_location(f"manual_{name}", TOOLS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_there_is_a_page_for_each_door_and_each_system():
    names = {name_of(page) for page in MANUAL}
    doors = {f"docs/quickstart-{door}.md" for door in ("researcher", "practitioner", "visitor")}
    systems = {f"docs/systems/{name}.md" for name in ("aen", "nr_dfernet", "cfc_sp", "keypoint_gcn", "m3dfel")}
    assert names >= doors | systems | {"docs/index.md", "docs/systems/baselines.md", "docs/reference.md"}


@EVERY_PAGE
def test_a_block_is_run_or_shown_or_says_what_it_needs(page):
    blocks = blocks_of(page)
    unknown = [(block.line, block.language) for block in blocks if block.language not in {*RUN, *SHOWN, ""}]
    assert unknown == []
    for block in blocks:
        if block.language == "python":
            compile(block.text, f"{name_of(page)}:{block.line}", "exec")
    # A mark that stands elsewhere than right above a block would let the block be run, or say nothing.
    marks = NOT_RUN.findall(page.read_text(encoding="utf-8"))
    assert sorted(marks) == sorted(block.needs for block in blocks if block.needs)


@EVERY_PAGE
def test_links_lead_to_files_and_headings(page):
    broken = []
    for target in links_of(page):
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        is_there = file.exists() and file.is_relative_to(ROOT)
        if not is_there or (anchor and anchor not in map(github_anchor, headings_of(file))):
            broken.append(target)
    assert broken == []


@EVERY_PAGE
def test_headings_have_the_same_anchor_on_github_and_on_the_site(page):
    headings = headings_of(page)
    assert headings
    assert [heading for heading in headings if github_anchor(heading) != site_anchor(heading)] == []
    assert len(set(map(github_anchor, headings))) == len(headings)


@pytest.mark.parametrize("page", MANUAL, ids=name_of)
def test_a_page_is_in_the_contents_of_the_site(page):
    contents = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    nav = yaml.dump(yaml.load(contents, Loader=yaml.BaseLoader)["nav"])
    assert re.search(rf"\b{re.escape(page.relative_to(ROOT / 'docs').as_posix())}$", nav, re.MULTILINE)


@pytest.mark.parametrize("page", MANUAL, ids=name_of)
def test_a_page_begins_with_its_name_and_what_the_reader_gets(page):
    title, empty, lead = page.read_text(encoding="utf-8").splitlines()[:3]
    assert title.startswith("# ")
    assert empty == ""
    assert re.match(r"`?\w", lead)


def test_ci_builds_the_site_with_what_the_extra_names():
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (requirement,) = re.findall(r'^docs = \["(.+)"\]$', project, re.MULTILINE)
    steps = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))["jobs"]["docs"][
        "steps"
    ]
    typed = [step["run"] for step in steps if "run" in step]
    assert typed[0] == f'pip install "{requirement}"'
    assert typed[1].endswith("mkdocs build --strict")


def test_the_site_names_files_outside_the_manual_without_a_link():
    text = "See [a recipe](../../training/a.toml), [AEN](aen.md), ![a](../figures/a.svg) and [us](https://a.b)."
    shown = tool("site").without_outer_links(text, "systems/page.md")
    assert shown == "See a recipe, [AEN](aen.md), ![a](../figures/a.svg) and [us](https://a.b)."


def test_figures_are_those_that_the_script_draws():
    drawn = tool("draw_figures").render()
    assert len(drawn) >= 7
    assert set(drawn) == set((ROOT / "docs" / "figures").glob("*.svg"))
    stale = [path.name for path, text in drawn.items() if path.read_text(encoding="utf-8") != text]
    assert stale == [], "run `python docs/tools/draw_figures.py`"


def test_every_figure_is_shown_and_its_words_fit_their_boxes():
    shown = {target.rpartition("/")[2] for page in MANUAL for target in links_of(page) if target.endswith(".svg")}
    for path in (ROOT / "docs" / "figures").glob("*.svg"):
        assert path.name in shown
        drawing = ElementTree.fromstring(path.read_text(encoding="utf-8"))
        words = [span.text for span in drawing.iter("{http://www.w3.org/2000/svg}tspan")]
        assert words
        # 13 pixels high, a letter is some 6.6 wide, and a box is 158.
        assert [word for word in words if len(word) * 6.6 > 158] == []


def test_the_reference_is_that_of_the_docstrings():
    reference = tool("reference")
    assert reference.PAGE.read_text(encoding="utf-8") == reference.render(), "run `python docs/tools/reference.py`"


def test_the_reference_names_a_docstring_that_is_missing(tmp_path):
    reference = tool("reference")
    (tmp_path / "some.py").write_text("def bare():\n    return 1\n", encoding="utf-8")
    with pytest.raises(ValueError, match="docstring of bare"):
        reference.render([reference.Chapter("Some", "some.py", ["bare"])], tmp_path)
    with pytest.raises(ValueError, match=r"Expected gone in some\.py"):
        reference.render([reference.Chapter("Some", "some.py", ["gone"])], tmp_path)


def test_the_reference_lists_every_public_name_of_the_package():
    headings = headings_of(ROOT / "docs" / "reference.md")
    source = (ROOT / "dfer_hf" / "__init__.py").read_text(encoding="utf-8")
    names = re.findall(r'^    "(\w+)",$', source, re.MULTILINE)
    assert names
    # `systems` stands in the file itself, which says what it does.
    assert [name for name in names if name not in headings] == []
