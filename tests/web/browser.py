"""A Chromium with a film as its webcam, and what tests ask of pages in it."""

from __future__ import annotations

import importlib.util
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
in_a_browser = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
    pytest.mark.skipif(importlib.util.find_spec("playwright") is None, reason="playwright is not installed"),
]

# Red, green, blue, alpha of the canvas at shares of its width and height; and the share of it that is opaque.
PIXEL = """([x, y]) => { const c = document.getElementById('view');
  return [...c.getContext('2d').getImageData(Math.round(x * c.width), Math.round(y * c.height), 1, 1).data]; }"""
BEFORE = PIXEL.replace("view", "before")
OPAQUE = """() => { const c = document.getElementById('view');
  const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
  let n = 0; for (let i = 3; i < d.length; i += 4) n += d[i] > 127; return n / (c.width * c.height); }"""


@contextmanager
def chromium(webcam: Path | None, *more: str) -> Iterator[Any]:
    """A browser with a film as its webcam, or with Chromium's own test picture."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        fake = [f"--use-file-for-fake-video-capture={webcam}", "--use-fake-device-for-media-stream"] if webcam else []
        arguments = ["--no-sandbox", "--use-fake-ui-for-media-stream", *fake, *more]
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser.new_context(viewport={"width": 1200, "height": 900})
        browser.close()


def until(page: Any, condition: str, seconds: float = 60) -> None:
    """Playwright's own waiting evaluates strings in the page, which its Content-Security-Policy forbids."""
    end = time.monotonic() + seconds
    while not page.evaluate(condition):
        assert time.monotonic() < end, f"never: {condition}; message: {page.inner_text('#message')}"
        page.wait_for_timeout(50)


def wait_for_frames(page: Any, more: int = 5) -> None:
    count = "Number(document.getElementById('view').dataset.frames ?? 0)"
    until(page, f"{count} >= {page.evaluate(count) + more}")


def begin_camera(page: Any) -> None:
    page.click("#start")
    wait_for_frames(page)
