"""What a user names as input, looked at before it is opened: a file that can be read, photos, the files in a folder."""

from __future__ import annotations

import glob
import os
import re
import stat
import unicodedata
from collections.abc import Collection, Iterator
from pathlib import Path

from headstream.errors import SourceError

_PHOTO_NAMES = "jpg jpeg jfif png webp heic heif avif bmp tif tiff gif"
PHOTOS = frozenset(f".{name}" for name in _PHOTO_NAMES.split())
_VIDEO_NAMES = "mp4 mov mkv webm avi m4v mpg mpeg mpe m2v mts m2ts ts vob wmv asf flv f4v 3gp 3g2 ogv mxf dv y4m"
VIDEOS = frozenset(f".{name}" for name in _VIDEO_NAMES.split())
_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/+(.+)")  # a path has lost a slash; C: is none
_CUT = {"head_only.png", "full_mask.png"}  # a photo's results, in a folder of their own


def check_file(path: Path) -> None:
    """Raise SourceError unless this is a file with something in it that may be read."""
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise SourceError(f"{path}: is a folder")
        if not stat.S_ISREG(status.st_mode):
            raise SourceError(
                f"{path}: is a pipe or a device, which can be read but once; save it to a file (cameras: headstream live)"
            )
        if status.st_size == 0:
            raise SourceError(f"{path}: is empty (0 bytes)")
        with path.open("rb"):
            pass
    except ValueError as error:  # NUL in it
        raise SourceError(f"{str(path)!r}: no file can have such a name") from error
    except OSError as error:
        raise SourceError(_unread_file(path, error)) from error


def _unread_file(path: Path, error: OSError) -> str:
    """The error of a file that is not there or cannot be read, in a person's words."""
    if address := _ADDRESS.fullmatch(path.as_posix()):
        return (
            f"{address[1]}://{address[2]}: is an address; nothing is downloaded here: save it to a file and name that "
            "(streams: headstream live --camera; object stores: headstream batch)"
        )
    if isinstance(error, (FileNotFoundError, NotADirectoryError)):
        return f"{path}: no such file"
    if isinstance(error, PermissionError):
        return f"{path}: no permission to read it"
    return f"{path}: cannot be read: {error.strerror}"


def find_photos(inputs: list[str], out: Path) -> tuple[list[Path], list[tuple[Path, str]]]:
    """All photos that files, folders and glob patterns name, sorted within each, each once; and what could not be found.

    A folder stands for all photos in it and below, but for hidden ones and those in the output ``out``, a folder or file. A
    pattern the shell did not expand is expanded here; what it finds in the output counts where it was looked for there.
    """
    found: dict[Path, None] = {}
    problems: list[tuple[Path, str]] = []
    for text in inputs:
        path = Path(text)
        if os.path.isdir(text):
            unread: list[OSError] = []
            files = files_below(text, PHOTOS, unread, leave_out=str(out))
            photos = sorted(Path(file) for file in files if not same_file(file, out))
            problems += [(Path(error.filename), unread_folder(error)) for error in unread]
            named_by_pattern = len(inputs) > 1 and inside(text, str(out))  # by the shell, with the photos beside it
            if not photos and not unread and not named_by_pattern:
                problems.append((path, f"{path}: no photos in this folder"))
            found.update(dict.fromkeys(photos))
        elif os.path.exists(text) or not glob.has_magic(text):
            found[path] = None
        else:
            meant = inside(os.path.dirname(re.split(r"[*?\[]", text)[0]), str(out))
            matches = [
                match
                for match in sorted(glob.glob(text, recursive=True))
                if not os.path.isdir(match) and (meant or not inside(match, str(out)))
            ]
            if not matches:
                problems.append((path, f"{text}: no file matches this pattern"))
            found.update(dict.fromkeys(map(Path, matches)))
    return list(found), problems


def files_below(
    folder: str, suffixes: Collection[str], unread: list[OSError], *, leave_out: str = "", recursive: bool = True
) -> Iterator[str]:
    """The files with one of these suffixes in a folder and below it, sorted in each; hidden files and folders are left out, and
    the folder ``leave_out``; where that is the folder itself, what photos were cut into there. unread: takes the errors of
    folders that cannot be listed."""
    for place, folders, names in os.walk(folder, onerror=unread.append):
        folders[:] = sorted(
            name
            for name in folders
            if recursive
            and not name.startswith(".")
            and not (leave_out and same_file(os.path.join(place, name), leave_out))
        )
        if leave_out and set(names) >= _CUT and place != folder and inside(place, leave_out):
            folders.clear()
            continue
        for name in sorted(names):
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in suffixes:
                yield os.path.join(place, name)


def unread_folder(error: OSError) -> str:
    """The error of a folder that cannot be listed, in a person's words."""
    why = (
        "no permission to read this folder"
        if isinstance(error, PermissionError)
        else f"cannot be read: {error.strerror}"
    )
    return f"{error.filename}: {why}"


def inside(path: str, folder: str) -> bool:
    """Whether a path is a folder's own, or lies below it."""
    return below(path, folder) is not None


def below(path: str, folder: str) -> str | None:
    """The path from a folder on, with /, "." for the folder itself; None of what does not lie in it."""
    true, root = Path(os.path.realpath(path)), Path(os.path.realpath(folder))
    if true.is_relative_to(root):
        return true.relative_to(root).as_posix()
    for above in (true, *true.parents):
        if _spelled_alike(above.name, root.name) and same_file(above, root):
            return true.relative_to(above).as_posix()
    return None


def _spelled_alike(one: str, other: str) -> bool:
    """Whether two names may be one where the system knows no upper and lower case, and letters in parts: to ask it of each folder
    above each of many files would take long."""
    return unicodedata.normalize("NFC", one).casefold() == unicodedata.normalize("NFC", other).casefold()


def same_file(one: str | Path, other: str | Path) -> bool:
    """Whether two paths lead to one place, there or not."""
    try:
        return os.path.samefile(one, other)  # also by another spelling, where the system knows no upper and lower case
    except OSError:  # one is not there yet
        return os.path.realpath(one) == os.path.realpath(other)  # also of links that lead to themselves
