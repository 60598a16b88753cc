"""Numbered pictures as a film: which files a name like shot/%06d.png, or a folder, stands for."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from headstream.capture.limits import limit
from headstream.capture.named import VIDEOS, unread_folder
from headstream.errors import SourceError, UsageError

RATE = Fraction(25)  # pictures a second where nobody tells; also FFmpeg's own
_PICTURES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp"})
_PATTERN = re.compile(r"([^%]*)%0?(\d*)d([^%]*)")
_FASTEST = 1000


@dataclass(frozen=True)
class Numbered:
    """Pictures in a folder, one number after the other. pattern: of their names, with %06d or the like in it.
    first: the lowest number.  files: (name, bytes, time of change in ns) of each, in order."""

    folder: Path
    pattern: str
    first: int
    files: tuple[tuple[str, int, int], ...]

    @property
    def first_path(self) -> Path:
        """The first of the pictures."""
        return self.folder / self.files[0][0]

    def fingerprint(self) -> dict[str, Any]:
        """How to know them again without reading them: another number, name, size or time of change is another film."""
        return {"pictures": len(self.files), "files": hashlib.sha256(repr(self.files).encode()).hexdigest()}

    def opened(self, rate: Fraction) -> Any:
        """A PyAV container of them."""
        import av

        name = os.path.join(str(self.folder.absolute()).replace("%", "%%"), self.pattern)
        options = {"framerate": str(rate), "start_number": str(self.first), "start_number_range": "1"}
        return av.open(name, format="image2", options=options | {"pattern_type": "sequence"})


def numbered_pictures(path: Path) -> Numbered | None:
    """The pictures a name like shot/%06d.png stands for, or a folder that holds one such row and no other pictures; None for
    any other name. Raises SourceError where there are none, where a number is missing, or a picture is empty."""
    if os.path.isdir(path):
        found = _read(path, _pattern_in(path))
    elif path.suffix.lower() in _PICTURES and _PATTERN.fullmatch(path.name) and not os.path.exists(path):
        found = _read(path.parent, path.name)
    else:
        return None
    if found is None:
        raise SourceError(f"{path}: there are no pictures with such names")
    for name, size, _ in found.files:
        if size == 0:
            raise SourceError(f"{found.folder / name}: is empty (0 bytes)")
    return found


def picture_at(path: Path, index: int) -> Path:
    """The picture of a row that is frame ``index``, from 0."""
    found = numbered_pictures(path)
    return path if found is None or index >= len(found.files) else found.folder / found.files[index][0]


def damaged_picture(path: Path, index: int) -> Path:
    """The picture of a row that does not decode: the first from frame ``index`` on that does not alone, as a decoder with several
    threads is ahead of what it has given."""
    import av

    found = numbered_pictures(path)
    later = () if found is None else (found.folder / name for name, _, _ in found.files[index:])
    for picture in later:
        try:
            with av.open(str(picture.absolute())) as alone:
                limit(alone.streams.video[0])
                for _ in alone.decode(video=0):
                    pass
        except (av.error.FFmpegError, OSError):
            return picture
    return picture_at(path, index)


def _pattern_in(folder: Path) -> str:
    rows: dict[tuple[str, str], list[str]] = {}
    other = ""
    for name in _names(folder):
        suffix = os.path.splitext(name)[1].lower()
        if name.startswith(".") or suffix not in _PICTURES | VIDEOS:
            continue
        match = re.fullmatch(r"([^%]*?)([0-9]+)([^0-9%]*)", name)
        if match is None or suffix in VIDEOS:
            other = name
        else:
            rows.setdefault((match[1], match[3]), []).append(match[2])
    (before, after), numbers = next(iter(rows.items()), (("", ""), [""]))
    width = min(map(len, numbers))
    if len(rows) == 1 and not other and len(numbers) > 1 and all(f"{int(n):0{width}d}" == n for n in numbers):
        return f"{before}%0{width}d{after}"
    if len(rows) == 1 and not other and len(numbers) == 1:
        raise SourceError(f"{folder}: is a folder with one picture in it; for photos: headstream image")
    what = "with more in it than one row of" if rows else "without"
    name = f"pictures like '{folder / '%06d.png'}'" if rows else "a video file"
    raise SourceError(
        f"{folder}: is a folder {what} numbered pictures; name {name} (for folders of films and photos: headstream batch)"
    )


def _read(folder: Path, pattern: str) -> Numbered | None:
    before, digits, after = _PATTERN.fullmatch(pattern).groups()  # type: ignore[union-attr]
    width = int(digits or 0)
    files: dict[int, tuple[str, int, int]] = {}
    named = re.compile(re.escape(before) + "([0-9]+)" + re.escape(after))
    for name in _names(folder):
        match = named.fullmatch(name)
        if match and f"{int(match[1]):0{width}d}" == match[1]:
            try:
                about = (folder / name).stat()
            except OSError as error:  # a link to nothing
                raise SourceError(f"{folder / name}: cannot be read: {error.strerror}") from error
            files[int(match[1])] = (name, about.st_size, about.st_mtime_ns)
    if not files:
        return None
    first, last = min(files), max(files)
    if missing := last - first + 1 - len(files):
        gap = next(number for number in range(first, last) if number not in files)
        further = f" and {missing - 1} more" if missing > 1 else ""
        raise SourceError(
            f"{folder}: {before}{gap:0{width}d}{after}{further} of {files[first][0]} to {files[last][0]} is missing; "
            "a film takes pictures numbered without a gap"
        )
    return Numbered(folder, pattern, first, tuple(files[number] for number in sorted(files)))


def _names(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise SourceError(f"{folder}: no such folder") from error
    except OSError as error:
        raise SourceError(unread_folder(error)) from error


def parse_rate(value: str | float | Fraction) -> Fraction:
    """Pictures a second: 24, 24000/1001, or what it is called for short, 23.976 or 23.98. Raises UsageError."""
    try:
        rate = Fraction(value)
    except (ValueError, ZeroDivisionError, OverflowError, TypeError):
        rate = Fraction(0)
    if not 0 < rate <= _FASTEST:
        raise UsageError(f"--rate {value}: expected pictures a second, like 24 or 24000/1001")
    short = Fraction(1000 * round(rate), 1001)
    return short if short and rate.denominator != 1 and abs(rate - short) < Fraction(1, 200) else rate
