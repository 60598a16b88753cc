"""What a batch is asked for, what its parts are, and what became of them."""

from __future__ import annotations

from dataclasses import KW_ONLY, asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal

from headstream.errors import HeadstreamError

if TYPE_CHECKING:
    from headstream.films.pieces import Made, Piece

Kind = Literal["video", "photo"]
State = Literal["done", "no_head", "failed", "skipped"]

# --format -> suffix of a video's output; a PNG sequence is a folder.
FORMATS = {
    "mov": ".mov", "webm": ".webm", "mkv": ".mkv", "mp4": ".mp4",
    "png": "", "webp": ".webp", "apng": ".apng", "gif": ".gif",
}  # fmt: skip
MATTE_FORMATS = ("mov", "webm", "mkv", "mp4", "png")
OWN_FOLDER = ".headstream"  # in the output folder: results of each input, work in the making
LIST = "results.jsonl"  # there, too: a line for each input of the last run


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What one input is cut into, in the words of the command line. format, codec, matte: of videos; matte is a format, too, or
    None for none.  stages, hq, trim: of photos."""

    format: str = "mov"
    background: str = "transparent"
    codec: str | None = None
    matte: str | None = None
    heads: str = "largest"
    part: str = "head"
    hair_color: str | None = None
    stages: bool = False
    hq: bool = False
    trim: bool = False


# Words of a wish that are for one kind of input alone.
WORDS_OF: dict[Kind, tuple[str, ...]] = {"video": ("format", "codec", "matte"), "photo": ("stages", "hq", "trim")}


@dataclass(frozen=True)
class BatchJob:
    """What to cut and where to.

    inputs: files, folders, patterns, manifests (.csv, .jsonl), local or as fsspec names them.  out: a folder, local or so.
    workers: processes (None: one for each core), or actors on Ray.  resume: leave alone what is done and unchanged.
    report: an HTML page to write.  ray: None for this machine's own processes, "local", or a cluster's address.
    gpus: of a worker on Ray; None means one where ``device`` needs one.  tries: for an input, of which the last fails for good.
    wait_s: before the second try; four times as long before each further one.  split_s: films of at least two such lengths
    are cut in pieces, by several workers; 0 for never.
    """

    inputs: tuple[str, ...]
    out: str
    wish: Wish = field(default_factory=Wish)
    _: KW_ONLY
    model: str = "default"
    device: str = "auto"
    workers: int | None = None
    resume: bool = True
    recursive: bool = True
    report: Path | None = None
    ray: str | None = None
    gpus: float | None = None
    tries: int = 3
    wait_s: float = 1.0
    split_s: float = 600.0


@dataclass(frozen=True)
class Join:
    """What to put together: all pieces of a film, in order, and what is known of each. thumbnail: of one of them.
    seconds: of work that went into them in this run.  length_s: of the film."""

    pieces: tuple[Piece, ...]
    made: tuple[Made, ...]
    thumbnail: str = field(default="", repr=False)
    seconds: float = 0.0
    length_s: float = 0.0


@dataclass(frozen=True)
class Item:
    """One input, or the part of one that a worker is given at a time.

    place: of its result below the output folder: a file, or a folder for photos and PNG sequences.
    size: bytes, 0 if unknown.  mark: what a changed file has another of: its time or its ETag.
    identity: all that the result depends on.  problem: why it cannot even be tried, or "".
    former: outputs of an earlier result, and how many files each is, which go when the new one has none of these names.
    split_s: as of ``BatchJob``, for films.  whole: why this one is cut whole all the same, or "".
    task: the part of the film ``film`` (its number) that this is: a piece to cut, or all to put together.
    share: of the film's bytes, 0..1.  at: "file:line" of the manifest that names it, or "".
    """

    number: int
    input: str
    kind: Kind
    place: str
    wish: Wish
    size: int = 0
    mark: str = ""
    identity: dict[str, Any] = field(default_factory=dict)
    problem: str = ""
    tries: int = 1
    former: dict[str, int] = field(default_factory=dict)
    split_s: float = 0.0
    whole: str = ""
    task: Piece | Join | None = None
    film: int = -1
    share: float = 1.0
    at: str = ""

    @property
    def stem(self) -> str:
        """What the names of all its outputs begin with."""
        return self.place if self.kind == "photo" else self.place.removesuffix(FORMATS.get(self.wish.format, ""))

    @property
    def places(self) -> list[str]:
        """Of all its outputs that are not in a folder with others: the result's, and the matte's."""
        matte = self.wish.matte if self.kind == "video" else None
        return [self.place] if matte is None else [self.place, f"{self.stem}.matte{FORMATS.get(matte, '')}"]

    @property
    def broken_off(self) -> list[str]:
        """Of what takes the places of ``places`` where a film is cut off: another input's result must not have such a name."""
        rests = [PurePosixPath("x" + place[len(self.stem) :]) for place in self.places if self.kind == "video"]
        return [f"{self.stem}{rest.stem[1:]}.partial{rest.suffix}" for rest in rests]


@dataclass
class Outcome:
    """What became of one input; its result file holds the same. Of a part of one, the run alone gets to know.

    outputs: name below the output folder, how many files (more than one for a folder of frames), bytes.
    former: of an input that failed, an earlier result's outputs, as of ``Item``, and what there may be of a newer one's; they
    stay until a new result takes their place.
    again: the failure may pass: another try makes sense.  fatal: what to raise where every other input would fail alike.
    thumbnail: a data URI, or "".  length_s: of the film by its own account, 0 if unknown.
    device, model: what the network runs on, and which, where one was loaded for it.  stages_ms: mean milliseconds a frame.
    plan: the pieces to cut it in, instead of a result.  made: a piece that was cut.  whole: why it has to be cut whole.
    """

    input: str
    kind: Kind
    place: str
    state: State
    reason: str = ""
    outputs: list[dict[str, Any]] = field(default_factory=list)
    former: dict[str, int] = field(default_factory=dict)
    frames: int = 0
    frames_with_head: int = 0
    seconds: float = 0.0
    tries: int = 1
    notes: list[str] = field(default_factory=list)
    identity: dict[str, Any] = field(default_factory=dict)
    thumbnail: str = field(default="", repr=False)
    finished: str = ""
    length_s: float = 0.0
    again: bool = False
    fatal: type[HeadstreamError] | None = None
    plan: tuple[Piece, ...] = ()
    device: str = ""
    model: str = ""
    stages_ms: dict[str, float] = field(default_factory=dict)
    made: Made | None = None
    whole: str = ""

    def as_dict(self) -> dict[str, Any]:
        """As result files hold it."""
        return {key: value for key, value in asdict(self).items() if key not in NOT_WRITTEN}


# Of an outcome, into its result file.
NOT_WRITTEN = {"again", "fatal", "plan", "device", "model", "stages_ms", "made", "whole"}


@dataclass(frozen=True)
class Setup:
    """What every worker is told when it starts. threads: its share of the machine; None for all of it."""

    out: str
    model: str
    device: str
    threads: int | None = None
    wait_s: float = 1.0


@dataclass(frozen=True)
class BatchProgress:
    """How far a batch is. fraction: of the bytes to be read in this run, 0..1."""

    done: int
    failed: int
    total: int
    fraction: float


@dataclass
class BatchReport:
    """What became of a batch: an outcome for every input, in their order; those never reached have none. outputs: the files
    and folders of all, those of earlier runs included."""

    total: int
    outcomes: list[Outcome] = field(default_factory=list)
    seconds: float = 0.0
    workers: int = 0
    interrupted: bool = False
    results: str = ""
    outputs: list[str] = field(default_factory=list)

    def count(self, *states: State) -> int:
        """How many inputs ended so."""
        return sum(outcome.state in states for outcome in self.outcomes)
