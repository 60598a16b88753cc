"""The kinds of output there are: what a file name asks for, and whether it can be had. Checked before any work."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass, replace
from pathlib import Path
from typing import Literal

from headstream.errors import UsageError
from headstream.shared.cores import cores_here
from headstream.sinks.partial import check_named

Layout = Literal["planes", "prores", "rgba", "palette", "opaque"]


@dataclass(frozen=True)
class OutputFormat:
    """One kind of output.

    container: FFmpeg's name of the muxer.  codec: of the picture.  layout: how a cut-out is packed for it.
    alpha: whether it can be transparent.  streams: whether sound, subtitles and chapters have a place in it.
    options, muxer_options: FFmpeg's own.  viewers: where its transparency shows.
    """

    name: str
    _: KW_ONLY
    container: str
    codec: str
    layout: Layout
    alpha: bool
    streams: bool
    options: tuple[tuple[str, str], ...]
    muxer_options: tuple[tuple[str, str], ...]
    viewers: str

    def with_threads(self, threads: int | None) -> OutputFormat:
        """The same, encoded by so many threads; None for what suits the machine."""
        if threads is None:
            return self
        options = tuple((key, str(threads) if key == "threads" else value) for key, value in self.options)
        return replace(self, options=options)

    def for_size(self, size_px: tuple[int, int]) -> OutputFormat:
        """The same, for pictures of that size: as many at once as fit into memory, and for ProRes of odd widths the slower of
        FFmpeg's encoders, as the other takes even ones only."""
        options = dict(self.options)
        if self.codec == "prores_aw" and size_px[0] % 2:
            options |= ({"alpha_bits": "16"} if self.alpha else {}) | {"thread_type": "slice"}
            return replace(self, codec="prores_ks", options=tuple(options.items()))
        if dict(_FRAMES_AT_ONCE).items() <= options.items():
            fit = _AT_ONCE_BYTES // (_BYTES_A_PIXEL * size_px[0] * size_px[1])
            return self.with_threads(max(1, min(cores_here(), _MOST_AT_ONCE, fit)))
        return self


# Without this the Matroska muxer gives each file and stream a random number, and no two runs the same bytes.
_SAME_BYTES = (("fflags", "+bitexact"),)
# For encoders that know no threads within a frame, which are all that PyAV asks for; and how many that may be at most: of
# ProRes each takes 18 bytes a pixel.
_FRAMES_AT_ONCE = (("threads", "auto"), ("thread_type", "frame"))
_MOST_AT_ONCE, _AT_ONCE_BYTES, _BYTES_A_PIXEL = 8, 600_000_000, 18

_PRORES = OutputFormat(
    "ProRes 4444",
    container="mov",
    codec="prores_aw",
    layout="prores",
    alpha=True,
    streams=True,
    # A fifth of the time of FFmpeg's other encoder, prores_ks, for files as large: off by 0.15 of 255 where that is by 0.10,
    # and in alpha by nothing where that is by up to 1.
    options=(("profile", "4"), ("vendor", "apl0"), *_FRAMES_AT_ONCE),
    muxer_options=(("movflags", "+write_colr"),),
    viewers="Final Cut, Premiere, DaVinci Resolve, After Effects, QuickTime, Blender, OBS; not in VLC or browsers",
)
_VP9 = OutputFormat(
    "VP9 with alpha",
    container="webm",
    codec="libvpx-vp9",
    layout="planes",
    alpha=True,
    streams=True,
    options=(
        ("crf", "20"),
        ("b", "0"),
        ("deadline", "realtime"),  # an eighth of the time of "good", for 6 % more bytes and 0.3 dB more
        ("lag-in-frames", "0"),  # which looks at none to come: held back for nothing, they take 220 MB at 1080p
        ("cpu-used", "5"),
        ("row-mt", "1"),
        ("auto-alt-ref", "0"),
        ("threads", "auto"),
    ),
    muxer_options=_SAME_BYTES,
    viewers="Chrome, Edge, Firefox, OBS; not in Blender, mpv, VLC or Safari",
)
_FFV1 = OutputFormat(
    "FFV1",
    container="matroska",
    codec="ffv1",
    layout="planes",
    alpha=True,
    streams=True,
    # The number of slices is left to FFmpeg: of odd sizes it takes four of some only.
    options=(("level", "3"), ("slicecrc", "1"), ("threads", "auto")),
    muxer_options=_SAME_BYTES,
    viewers="ffmpeg, Blender, OBS, Kdenlive, mpv and archives (lossless)",
)
_H264 = OutputFormat(
    "H.264",
    container="mp4",
    codec="libx264",
    layout="opaque",
    alpha=False,
    streams=True,
    options=(("crf", "17"), ("preset", "veryfast"), ("threads", "auto")),
    muxer_options=(("movflags", "+faststart+write_colr"),),
    viewers="everything; it has no transparency",
)
_PNGS = OutputFormat(
    "PNG sequence",
    container="image2",
    codec="png",
    layout="rgba",
    alpha=True,
    streams=False,
    # Half the time of mixed predictors and level 4, for files as large.
    options=(("pred", "up"), ("compression_level", "3"), *_FRAMES_AT_ONCE),
    muxer_options=(),
    viewers="every editor that imports image sequences",
)
_WEBP = OutputFormat(
    "animated WebP",
    container="webp",
    codec="libwebp_anim",
    layout="rgba",
    alpha=True,
    streams=False,
    options=(("quality", "80"), ("compression_level", "2")),
    muxer_options=(("loop", "0"),),
    viewers="browsers and chat programs",
)
_APNG = OutputFormat(
    "APNG", container="apng", codec="apng", layout="rgba", alpha=True, streams=False, options=(("pred", "mixed"),),
    muxer_options=(("plays", "0"),), viewers="browsers",
)  # fmt: skip
_GIF = OutputFormat(
    "GIF", container="gif", codec="gif", layout="palette", alpha=True, streams=False, options=(), muxer_options=(("loop", "0"),),
    viewers="everything; its transparency is all or nothing",
)  # fmt: skip

_BY_SUFFIX = {
    ".mov": _PRORES,
    ".webm": _VP9,
    ".mkv": _FFV1,
    ".mp4": _H264,
    ".webp": _WEBP,
    ".apng": _APNG,
    ".gif": _GIF,
}
# What may be asked for, in words, where one is cut out, and where a film has nothing cut out of it.
CUTOUTS = ".mov, .webm, .mkv, .webp, .apng, .gif, a folder or %06d.png, or .mp4 with a --background"
FILMS = ".mkv, .mov, .mp4, .webm, a folder or %06d.png"
_BY_CODEC = {"prores": _PRORES, "vp9": _VP9, "ffv1": _FFV1, "h264": _H264}
_CONTAINERS = {".mov": "mov", ".webm": "webm", ".mkv": "matroska", ".mp4": "mp4"}
_NUMBERED = re.compile(r"[^%]*%(0[1-9]\d?)?d[^%]*\.png", re.IGNORECASE)  # as FFmpeg and Python both read it
_COUNTS = re.compile(r"%\d*d")  # what numbers files, whatever kind of files
# Codecs a container takes besides its own; the first row is the default of each.
_ALLOWED = {
    ".mov": ("prores", "h264"),
    ".webm": ("vp9",),
    ".mkv": ("ffv1", "vp9", "prores", "h264"),
    ".mp4": ("h264",),
}


def output_format(
    path: Path,
    *,
    codec: str | None = None,
    transparent: bool = True,
    opaque: str = "choose a --background",
    known: str = CUTOUTS,
) -> OutputFormat:
    """The format an output's name asks for. Raises UsageError, saying what to ask for instead.

    A name without a suffix, or with %06d in it, is a PNG sequence.  opaque: how to do without transparency, in words.
    known: what may be asked for there, in words.
    """
    suffix = path.suffix.lower()
    check_named(path, {*_BY_SUFFIX, ".png"})
    if suffix == "" or (suffix == ".png" and "%" in path.name) or _COUNTS.search(path.name):
        chosen = _PNGS
        if suffix and not names_frames(path):
            raise UsageError(f"{path}: a numbered sequence is written as PNG; name it like frames/%06d.png")
        if not sequence_place(path)[0].name:
            raise UsageError(f"{path}: is no folder for a film's frames; name one, like frames/%06d.png")
    elif suffix not in _BY_SUFFIX:
        raise UsageError(f"{path}: no output format is called {suffix!r}; use {known}")
    else:
        chosen = _BY_SUFFIX[suffix]
    if codec is not None:
        chosen = _with_codec(path, suffix, codec)
    if transparent and not chosen.alpha:
        instead = "leave out --codec" if _BY_SUFFIX[suffix].alpha else "use .mov, .webm or .mkv"
        raise UsageError(f"{path}: {chosen.name} in {suffix} has no transparency; {instead}, or {opaque}")
    return chosen


def is_sequence(path: Path) -> bool:
    """Whether an output's name stands for a folder of numbered PNGs."""
    return path.suffix == "" or names_frames(path)


def names_frames(path: Path) -> bool:
    """Whether a name is the pattern of numbered PNGs, such as %06d.png, and not that of their folder."""
    return _NUMBERED.fullmatch(path.name) is not None


def sequence_place(path: Path) -> tuple[Path, str]:
    """Folder and file name pattern of a PNG sequence asked for as a folder or as folder/%06d.png. A folder that is told by no
    name of its own (. or ..) gets its name: others are made of it."""
    folder, pattern = (path.parent, path.name) if names_frames(path) else (path, "%06d.png")
    return (folder if folder.name not in {"", ".."} else folder.resolve()), pattern


def frames_from(folder: Path, pattern: str, number: int) -> Iterator[Path]:
    """The frames of a sequence that are there, from one on, as long as none is missing. What else has digits for a name, such as
    pictures called by their day, is none."""
    return itertools.takewhile(Path.exists, (folder / (pattern % n) for n in itertools.count(number)))


def film_format(path: Path, *, codec: str | None = None) -> OutputFormat:
    """The format for a film's whole picture: what its name asks for, without transparency. Raises UsageError."""
    chosen = output_format(path, codec=codec, transparent=False, known=FILMS)
    if not chosen.streams and chosen.container != "image2":
        raise UsageError(f"{path}: a film is written as .mkv (FFV1, lossless), .mov, .mp4, .webm or a folder of PNG")
    if chosen.codec == "prores_aw":
        options = tuple({**dict(chosen.options), "profile": "3"}.items())
        return replace(chosen, name="ProRes 422 HQ", alpha=False, options=options, viewers="editors and QuickTime")
    return chosen


def _with_codec(path: Path, suffix: str, codec: str) -> OutputFormat:
    if codec not in _BY_CODEC:
        raise UsageError(f"--codec {codec}: unknown; known: {', '.join(_BY_CODEC)}")
    allowed = _ALLOWED.get(suffix, ())
    if codec not in allowed:
        raise UsageError(
            f"--codec {codec}: not possible in {path.name}; {suffix} takes {', '.join(allowed) or 'no choice'}"
        )
    chosen = _BY_CODEC[codec]
    muxer = _SAME_BYTES if suffix == ".mkv" else chosen.muxer_options
    return replace(chosen, container=_CONTAINERS[suffix], muxer_options=muxer)
