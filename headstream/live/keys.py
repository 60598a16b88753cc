"""What the keys of the live preview do."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from pathlib import Path

from headstream.choice import Heads
from headstream.errors import SinkError
from headstream.live.cutting import LiveCutter
from headstream.sinks.behind import ShownBackground
from headstream.sinks.photo import save_picture
from headstream.types import Cutout

KEYS = "b background, m mirror, p pause, f freeze, s snapshot, n next head, q quit"


class Keys:
    """Acts on them. shown: the cut-out of now, for a snapshot."""

    def __init__(self, cutter: LiveCutter, choice: ShownBackground, notice: Callable[[str], None]) -> None:
        self._cutter, self._choice, self._notice = cutter, choice, notice
        self.shown: Cutout | None = None

    def pressed(self, key: str) -> bool:
        """Act on a key, "" for none. False ends the session."""
        controls = self._cutter.controls
        if key == "b":
            self._choice.index += 1
        elif key == "m":
            controls.mirror = not controls.mirror
        elif key == "p":
            controls.paused = not controls.paused
        elif key == "f":
            controls.frozen = not controls.frozen
        elif key == "n":
            self._next_head()
        elif key == "s" and self.shown is not None:
            self._snapshot(self.shown)
        return key != "q"

    def _next_head(self) -> None:
        """The largest, then each person in view, then all."""
        seen: list[Heads] = ["largest", *(head.track_id for head in self._cutter.cutter.people), "all"]
        now = self._cutter.cutter.options.heads
        wanted = seen[(seen.index(now) + 1) % len(seen)] if now in seen else "largest"
        self._cutter.cutter.choose(wanted)
        self._notice(f"heads: {wanted}")

    def _snapshot(self, cutout: Cutout) -> None:
        path = _unused(time.strftime("headstream-%Y%m%d-%H%M%S"))
        try:
            save_picture(path, cutout.rgba())
        except SinkError as error:
            self._notice(str(error))
        else:
            self._notice(f"wrote {path}")


def _unused(stem: str) -> Path:
    """A name that no picture in this folder has: two snapshots may fall into one second."""
    names = (Path(f"{stem}{more}.png") for more in itertools.chain([""], (f"-{n}" for n in itertools.count(2))))
    return next(path for path in names if not path.exists())
