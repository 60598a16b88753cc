"""Whether a live recording may have its name: nothing recorded before is lost to it."""

from __future__ import annotations

from pathlib import Path

from headstream.errors import UsageError
from headstream.sinks.growing import growing_name, is_there
from headstream.sinks.lock import locked
from headstream.sinks.partial import sink_error


def check_take(path: Path, *, overwrite: bool) -> None:
    """Raise UsageError where a recording would have to take another one's place; SinkError where it is being made now."""
    growing = growing_name(path)
    try:
        begun = growing.exists()
    except OSError as error:  # its name is too long
        raise sink_error(growing, error) from error
    if begun:
        with locked([path]):
            if not _removed_if_empty(growing):
                raise UsageError(
                    f"{growing} is there, of a recording that was broken off: it plays as far as it goes; rename it to keep "
                    f"it, or remove it, or give another name than {path.name}"
                )
    if not overwrite and is_there(path):
        raise UsageError(f"{path} is already there; give another name, or --overwrite to replace it")


def _removed_if_empty(growing: Path) -> bool:
    """Whether the recording was broken off before anything was recorded, and is gone."""
    try:
        if growing.is_dir():
            growing.rmdir()
        elif growing.stat().st_size:
            return False
        else:
            growing.unlink()
    except OSError:
        return False
    return True
