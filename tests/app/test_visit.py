"""What a visitor does on every tab, in a browser, on a desktop and on a phone."""

import json
import re
from contextlib import contextmanager

import pytest

from dfer_hf.checkpoints import shipped_checkpoints

from .browsing import browsing
from .visits import serving

pytest.importorskip("gradio", reason="the app needs gradio")
from page.guards import example_clips

pytestmark = pytest.mark.slow
SECONDS = "() => document.querySelector('#overlay video.base').currentTime"
PICTURES = "() => [...document.querySelectorAll('#examples img')].filter((one) => one.naturalWidth).length"
WIDER = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
CHECKS = """async () => {
    const { passes, violations } = await axe.run();
    return [passes.length, violations.map(({ impact, id, nodes }) => [impact, id, nodes.map(({ html }) => html)])];
}"""
AT = "#timeline [role=slider]"


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("server") / "stored") as (_, address, _):
        yield address


@contextmanager
def visiting(address, *, width, language="en-US", theme="light"):
    """A page that must not complain, and must not be wider than its window."""
    with browsing() as browser:
        page = browser.new_page(viewport={"width": width, "height": 900}, locale=language, color_scheme=theme)
        page.set_default_timeout(60_000)
        complaints = []
        page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(f"{address}?__theme={theme}")
        yield page
        assert complaints == []


def analyse_example(page, *, example="portrait", analyse="Analyse"):
    page.get_by_role("button", name=example).click()
    page.locator("#preview video").wait_for()
    page.get_by_role("button", name=analyse, exact=True).click()
    # A machine that does other things, too, takes its time.
    page.locator("#strip img").first.wait_for(timeout=240_000)
    page.wait_for_function("() => document.querySelector('#overlay video.base').readyState >= 2")


def show_tab(page, name):
    page.get_by_role("tab", name=name, exact=True).click()
    # What belongs to a tab is drawn when it is first shown.
    page.wait_for_timeout(500)


@pytest.mark.parametrize("width", [1280, 390])
def test_a_visitor_uses_every_tab(address, tmp_path, width):
    with visiting(address, width=width) as page:
        # Each example shows its picture.
        page.wait_for_function(f"most => ({PICTURES})() === most", arg=len(example_clips()))
        analyse_example(page)
        assert page.locator("#fine h2").inner_text().strip() == "happiness"
        assert page.locator("#strip img").count() >= 3
        assert "happiness" in (page.locator("#strip img").first.get_attribute("alt") or "")
        # A click at a quarter of the timeline moves playhead and video there.
        slider = page.locator(AT)
        place = slider.bounding_box()
        slider.click(position={"x": place["width"] / 4, "y": place["height"] / 2})
        end = float(slider.get_attribute("aria-valuemax"))
        page.wait_for_function(f"end => Math.abs(({SECONDS})() - end / 4) < 0.1", arg=end)
        assert page.locator(".playhead").first.evaluate("one => parseFloat(one.style.left)") == pytest.approx(
            25, abs=2
        )
        slider.press("ArrowRight")
        page.wait_for_function(f"end => ({SECONDS})() > end / 4 + 0.05", arg=end)
        # The map goes, and comes back, without a new analysis.
        shown = "() => document.querySelector('#overlay .plain').style.opacity"
        page.get_by_label("Map", exact=True).uncheck()
        assert page.evaluate(shown) == "1"
        page.get_by_label("Map", exact=True).check()
        assert page.evaluate(shown) == "0"
        page.screenshot(path=tmp_path / "analyse.png", full_page=True)
        assert page.evaluate(WIDER) == 0

        show_tab(page, "Compare")
        for name in list(shipped_checkpoints())[2:]:
            page.get_by_label(name, exact=True).uncheck()
        page.get_by_role("button", name="Compare", exact=True).click()
        page.locator("#comparison .lane").first.wait_for(timeout=240_000)
        assert page.locator("#comparison tbody tr").count() == 2
        assert "They agree on the expression for" in page.locator("#comparison").inner_text()
        page.screenshot(path=tmp_path / "compare.png", full_page=True)
        assert page.evaluate(WIDER) == 0

        show_tab(page, "Live")
        page.get_by_role("button", name="Start the camera").wait_for()
        assert page.evaluate(WIDER) == 0

        show_tab(page, "About")
        for name, folder in shipped_checkpoints().items():
            figures = json.loads((folder / "results.json").read_text(encoding="utf-8"))["benches"]
            row = page.locator("#about tr", has=page.get_by_role("rowheader", name=name)).first
            assert f"{figures['ferplus']['aligned']['uar']:.1f}" in row.inner_text()
        page.screenshot(path=tmp_path / "about.png", full_page=True)
        assert page.evaluate(WIDER) == 0


def test_a_visitor_whose_browser_speaks_german_reads_german_on_a_phone(address, tmp_path):
    with visiting(address, width=390, language="de-DE", theme="dark") as page:
        analyse_example(page, example="Porträt", analyse="Analysieren")
        assert page.locator("#fine h2").inner_text().strip() == "Freude"
        assert re.match(r"\d.* Bilder · .* Sekunden · 1 Gesicht · ", page.locator("#summary").inner_text())
        # What is explained is chosen in German, and the report is German, on a phone too.
        why, instead_of = page.locator("#targets select").all()
        assert why.locator("option").first.inner_text() == "die Antwort"
        instead_of.select_option(label="Angst")
        page.get_by_role("button", name="Erklären", exact=True).click()
        page.get_by_text("Für Freude und nicht Angst sprechen: ").wait_for(timeout=240_000)
        with page.expect_download() as download:
            page.get_by_role("button", name="Bericht herunterladen").first.click()
        download.value.save_as(tmp_path / "report.html")
        report = page.context.browser.new_page(viewport={"width": 390, "height": 900})
        report.goto((tmp_path / "report.html").as_uri())
        assert report.locator("html").get_attribute("lang") == "de"
        assert report.locator(".answer").inner_text() == "Freude"
        assert "Für Freude und nicht Angst sprechen: " in report.locator("body").inner_text()
        assert report.evaluate(WIDER) == 0
        report.close()
        show_tab(page, "Über")
        assert "Ekel und Angst sind in den Trainingsdaten selten" in page.locator("#about").inner_text()
        page.screenshot(path=tmp_path / "german.png", full_page=True)
        assert page.evaluate(WIDER) == 0
        page.get_by_label("Sprache").select_option("en")
        show_tab(page, "Analyse")
        assert page.locator("#fine h2").inner_text().strip() == "happiness"


@pytest.mark.parametrize(("width", "theme"), [(1280, "light"), (390, "dark")])
def test_nothing_on_the_page_seriously_fails_accessibility_checks(address, width, theme):
    """Runs axe-core, which `pip install axe-playwright-python` brings along."""
    axe = pytest.importorskip("axe_playwright_python.base", reason="needs axe: pip install axe-playwright-python")
    with visiting(address, width=width, theme=theme) as page:
        analyse_example(page)
        page.evaluate(axe.AXE_SCRIPT)
        for tab in ("Analyse", "Compare", "Live", "About"):
            show_tab(page, tab)
            passes, violations = page.evaluate(CHECKS)
            assert passes > 10
            assert [found for found in violations if found[0] in ("serious", "critical")] == []
