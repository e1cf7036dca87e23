"""A browser for tests that look at a page as a person does: Debian's Chromium, without a window."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

ELSEWHERE = "document.documentElement.dataset.shown !== location.hash"
MOST_SECONDS = 60  # a busy machine is no failure
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A browser that every test of a module opens its pages in. It runs an event loop, and while it
    does, no other test of this process can run one.
    """
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=program)
        yield opened
        opened.close()


@contextmanager
def looked_at(browser: Any, width: int = 1280, **options: Any) -> Iterator[Any]:
    """An empty page, which must not fail, complain or ask for anything but files."""
    context = browser.new_context(viewport={"width": width, "height": 900}, **options)
    context.set_default_timeout(1000 * MOST_SECONDS)
    page = context.new_page()
    failed: list[str] = []
    page.on("pageerror", lambda error: failed.append(str(error)))
    page.on("console", lambda said: failed.append(said.text))
    page.on("dialog", lambda dialog: failed.append(dialog.message))
    page.on(
        "request",
        lambda asked: None if asked.url.startswith("file:") else failed.append(asked.url),
    )
    yield page
    context.close()
    assert failed == []


def go(page: Any, file: Path, address: str = "") -> None:
    """Open an address in a page, from nothing."""
    page.goto("about:blank")
    page.goto(f"{file.as_uri()}#{address}")
    settle(page)


def settle(page: Any) -> None:
    """Wait until a page shows what its address names: that comes a moment after a click."""
    limit = time.monotonic() + MOST_SECONDS
    while page.evaluate(ELSEWHERE):  # wait_for_function would need eval, which the page forbids
        assert time.monotonic() < limit
        page.wait_for_timeout(5)
