"""What is freed goes back to the system."""

from __future__ import annotations

import ctypes
import platform
import sys
import threading
from pathlib import Path

import pytest

from headstream.web.heap import give_back

PIECE, PIECES = 50_000, 2000  # below the size from which glibc asks the system for each piece


def resident_mb() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) >> 10


def use_and_free(libc: ctypes.CDLL) -> None:
    """100 MB of a thread's own heap, all freed but the last piece, which keeps glibc from giving back the rest by itself."""
    pieces = [libc.malloc(PIECE) for _ in range(PIECES)]
    for piece in pieces:
        libc.memset(piece, 1, PIECE)
    for piece in pieces[:-1]:
        libc.free(piece)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other systems keep less")
def test_what_a_thread_freed_goes_back() -> None:
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
    libc.free.argtypes = [ctypes.c_void_p]
    thread = threading.Thread(target=use_and_free, args=(libc,))
    thread.start()
    thread.join()
    kept = resident_mb()
    give_back()
    assert resident_mb() < kept - 50


def test_other_systems_are_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr(ctypes, "CDLL", asked.append)
    for system in ("win32", "darwin"):
        monkeypatch.setattr(sys, "platform", system)
        give_back()
    assert asked == []
