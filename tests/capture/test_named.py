"""What a user names: files, folders and patterns, and what in them is left out."""

from __future__ import annotations

import errno
import os
from pathlib import Path, PureWindowsPath

import pytest

from headstream.capture.named import check_file, find_photos
from headstream.errors import SourceError

ROOT = hasattr(os, "geteuid") and os.geteuid() == 0


def test_an_address_is_known_where_its_slashes_were_turned() -> None:
    class WindowsPath(PureWindowsPath):
        def stat(self) -> None:
            raise OSError(errno.EINVAL, "the file name is not correct")

    with pytest.raises(SourceError, match="^https://example.com/talk.mp4: is an address; nothing is downloaded"):
        check_file(WindowsPath("https://example.com/talk.mp4"))  # type: ignore[arg-type]
    with pytest.raises(SourceError, match=r"cannot be read: the file name is not correct"):
        check_file(WindowsPath("C:/a?b.mp4"))  # type: ignore[arg-type]


def test_files_folders_and_patterns(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.png", "sub/c.webp", "notes.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    (tmp_path / "void").mkdir()
    photos, problems = find_photos(
        [
            str(tmp_path / "a.jpg"),
            str(tmp_path),
            str(tmp_path / "*.png"),
            str(tmp_path / "*.heic"),
            str(tmp_path / "void"),
        ],
        tmp_path / "cut",
    )
    assert [p.name for p in photos] == ["a.jpg", "b.png", "c.webp"]
    assert [p.name for p, _ in problems] == ["*.heic", "void"]
    assert "no file matches" in problems[0][1]


def test_results_and_hidden_files_are_not_taken_for_photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.jpg", "sub/b.jpg", ".c.jpg", ".cache/d.jpg", "cut/a/head_only.png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    both = [Path("a.jpg"), Path("sub/b.jpg")]
    for out in (Path("cut"), tmp_path / "cut"):
        assert find_photos(["."], out) == (both, [])
        assert find_photos(["**/*.jpg", "**/*.png"], out) == (
            both,
            [(Path("**/*.png"), "**/*.png: no file matches this pattern")],
        )
    assert find_photos(["*.jpg"], Path(".")) == (both[:1], [])  # results lie in folders of their own
    assert find_photos(["cut/a/*.png"], Path("cut")) == ([Path("cut/a/head_only.png")], [])


def test_results_are_known_by_another_spelling_of_their_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("shot/a.jpg", "shot/cut/a/head_only.png", "shot/cut/b.png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    monkeypatch.setattr(
        "os.path.realpath", lambda path, **more: os.path.abspath(path)
    )  # of macOS, to which Shot is no link, but as good a name
    (tmp_path / "Shot").symlink_to("shot")
    for out in (tmp_path / "Shot" / "cut", tmp_path / "Shot" / "cut" / "b.png"):
        photos, problems = find_photos([str(tmp_path / "shot"), str(tmp_path / "shot" / "**" / "b.png")], out)
        cut = [] if out.suffix == "" else [tmp_path / "shot" / "cut" / "a" / "head_only.png"]
        assert (photos, len(problems)) == ([tmp_path / "shot" / "a.jpg", *cut], 1)


def test_photos_cut_into_their_own_folder_are_not_cut_again(tmp_path: Path) -> None:
    for name in ("a.jpg", "a/head_only.png", "a/full_mask.png", "a/head_mask_crop.png", "b/c.jpg"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    found = [tmp_path / "a.jpg", tmp_path / "b" / "c.jpg"]
    assert find_photos([str(tmp_path)], tmp_path) == (found, [])
    assert len(find_photos([str(tmp_path)], tmp_path / "elsewhere")[0]) == 5


def test_the_output_folder_among_the_inputs(tmp_path: Path) -> None:
    """As a shell expands photos/* with --out photos/cut, the second time."""
    for name in ("a.jpg", "b.jpg", "cut/a/head_only.png", "cut/a/full_mask.png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    found: tuple[list[Path], list[tuple[Path, str]]] = ([tmp_path / "a.jpg", tmp_path / "b.jpg"], [])
    cut = tmp_path / "cut"
    assert find_photos([str(tmp_path / name) for name in ("a.jpg", "b.jpg", "cut")], cut) == found
    assert find_photos([str(tmp_path / "*")], tmp_path / "elsewhere") == found  # and a pattern names no folders
    assert find_photos([str(tmp_path), str(cut)], tmp_path) == found
    assert "no photos" in find_photos([str(cut)], cut)[1][0][1]


@pytest.mark.skipif(ROOT, reason="root may read everything")
def test_a_folder_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    for name in ("a.jpg", "sub/b.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "sub").chmod(0)
    photos, problems = find_photos([str(tmp_path)], tmp_path / "cut")
    assert photos == [tmp_path / "a.jpg"]
    assert problems == [(tmp_path / "sub", f"{tmp_path / 'sub'}: no permission to read this folder")]
    assert find_photos([str(tmp_path / "sub")], tmp_path / "cut") == ([], problems)
    (tmp_path / "sub").chmod(0o700)
