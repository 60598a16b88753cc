"""A window with the cut-out in it, and the keys pressed there. Must live in the main thread: systems insist on it."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import Any

import cv2

from headstream.errors import SinkError
from headstream.shared.colour import rgb_from_planes
from headstream.sinks.background import composite
from headstream.sinks.behind import Background
from headstream.types import Cutout, UInt8Array

_TITLE = "headstream"
_LONGEST_PX = 960


class PreviewWindow:
    """Shows cut-outs before a background, which it closes. Raises SinkError where no window can be opened."""

    def __init__(self, background: Background) -> None:
        # Qt ends the whole process where there is no display, so it is not even tried.
        if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            raise SinkError("no preview: there is no display here (DISPLAY is not set); choose another output")
        os.environ.setdefault("QT_LOGGING_RULES", "*=false")  # it misses fonts that no one asked for
        self._background = background
        self._open = False

    def show(self, cutout: Cutout, text: str = "") -> str:
        """Draw one cut-out; returns the key pressed meanwhile, "" for none, "q" also when the window was closed."""
        picture = rgb_from_planes(composite(cutout, self._background))
        bgr = cv2.cvtColor(_fitted(picture), cv2.COLOR_RGB2BGR)
        try:
            if not self._open:
                cv2.namedWindow(_TITLE, cv2.WINDOW_AUTOSIZE | cv2.WINDOW_GUI_NORMAL)
                self._open = True
            cv2.imshow(_TITLE, bgr)
            if text:
                cv2.setWindowTitle(_TITLE, f"{_TITLE}: {text}")
        except cv2.error as error:
            raise SinkError(f"the preview window cannot be shown: {error.err}") from error
        return self.key()

    def key(self) -> str:
        """Let the window live, also while there is nothing new to show; returns as ``show`` does."""
        if not self._open:
            return ""
        key = cv2.waitKey(1) & 0xFF
        try:
            visible = cv2.getWindowProperty(_TITLE, cv2.WND_PROP_VISIBLE) >= 1
        except cv2.error:  # what OpenCV makes of a window that was closed depends on what it is built with
            visible = False
        return {255: "", 27: "q"}.get(key, chr(key).lower()) if visible else "q"

    def close(self) -> None:
        """Close the window. Safe to call again."""
        self._background.close()
        if self._open:
            self._open = False
            with suppress(cv2.error):  # closed by hand already
                cv2.destroyWindow(_TITLE)
                cv2.waitKey(1)


def _fitted(picture: UInt8Array) -> Any:
    scale = _LONGEST_PX / max(picture.shape[:2])
    return picture if scale >= 1 else cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
