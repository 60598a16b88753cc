"""What the studio's addresses share."""

from __future__ import annotations

from dataclasses import dataclass, field

from starlette.requests import HTTPConnection

from headstream.segment.crops import CropSegmenter
from headstream.web.cutting import OwnCamera
from headstream.web.stage import Stage
from headstream.web.uploads import Uploads


@dataclass
class Studio:
    """All that the addresses share. The overlay alone has a stage and nothing else."""

    stage: Stage = field(default_factory=Stage)
    segmenter: CropSegmenter | None = None
    camera: OwnCamera | None = None
    uploads: Uploads | None = None
    max_sessions: int = 2
    asks_token: bool = False
    sessions: int = 0

    @property
    def network(self) -> CropSegmenter:
        """The network of a studio that cuts."""
        assert self.segmenter is not None
        return self.segmenter


def studio_of(asked: HTTPConnection) -> Studio:
    """The studio that a request or a WebSocket has come to."""
    found: Studio = asked.app.state.studio
    return found
