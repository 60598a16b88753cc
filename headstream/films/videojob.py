"""What a video file is cut for, and what became of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import KW_ONLY, dataclass, field
from fractions import Fraction
from pathlib import Path

from headstream.pipeline import CutOptions
from headstream.review.collect import Review


@dataclass(frozen=True)
class VideoJob:
    """What to cut and where to. background: "transparent", "blur", "#rrggbb" or a file's name. matte: a second output.

    look_ahead: fill in heads from frames to come.  fixes: corrections made by hand.  review: a page with the frames the
    tool itself doubts; a film that is reviewed is made in one piece.
    segment_s: films of at least two such lengths are made in segments, of which at most one is lost; 0 for one piece.
    rate: of numbered pictures, a second, where ``source`` is such; see ``FileSource``.
    """

    source: Path
    out: Path
    _: KW_ONLY
    background: str = "transparent"
    matte: Path | None = None
    codec: str | None = None
    options: CutOptions = field(default_factory=CutOptions)
    model: str = "default"
    device: str = "auto"
    review: Path | None = None
    fixes: Path | None = None
    look_ahead: bool = True
    segment_s: float = 30
    rate: Fraction | None = None


@dataclass
class VideoReport:
    """What became of a job. heads: person's number -> frames they are in.  notes: sound, subtitles, chapters, warnings.

    Counts are of the whole film; resumed_from_frame: how many frames of it an earlier run had done.  frames_expected: how many
    the film promises, 0 if it does not tell.  seconds: of this run.
    doubts: where a review was asked for, what it found.
    """

    frames_in: int = 0
    frames_out: int = 0
    frames_with_head: int = 0
    heads: Counter[int] = field(default_factory=Counter)
    seconds: float = 0.0
    stages_ms: dict[str, float] = field(default_factory=dict)
    device: str = ""
    model: str = ""
    outputs: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    viewers: str = ""
    frames_expected: int = 0
    interrupted: bool = False
    resumed_from_frame: int = 0
    doubts: Review | None = None

    @property
    def fps(self) -> float:
        """Frames a second, from this run's first frame to the finished file."""
        return (self.frames_out - self.resumed_from_frame) / self.seconds if self.seconds else 0.0
