"""Chromium for tests that visit the page as people do."""

import shutil
from contextlib import contextmanager

import pytest

QUIET = "--no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-component-update"


@contextmanager
def browsing(*flags):
    """A browser without a window; skips the test where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        pytest.skip("needs a browser on the path")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=[*QUIET.split(), *flags])
        yield browser
        browser.close()
