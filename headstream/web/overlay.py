"""The overlay as an output of a live session: a page with the head alone, for an OBS browser source."""

from __future__ import annotations

from headstream.types import Cutout
from headstream.web.address import bound
from headstream.web.app import overlay_app
from headstream.web.server import ServerThread
from headstream.web.stage import Stage


class OverlaySink:
    """Serves ``url`` on this machine and shows there what it is given. Raises SinkError if it cannot."""

    def __init__(self, port: int) -> None:
        self._stage = Stage()
        listener, address = bound("127.0.0.1", port, None)
        self.url = f"{address.url}overlay"
        self._server = ServerThread(overlay_app(self._stage), listener, address)

    def write(self, cutout: Cutout) -> None:
        """Show one cut-out."""
        self._stage.publish(cutout)

    def close(self) -> None:
        """End the server. Safe to call again."""
        self._server.close()
