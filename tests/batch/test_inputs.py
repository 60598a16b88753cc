"""What is found, and where its result goes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from headstream.batch.inputs import _fixed_part, find_items
from headstream.batch.job import Item, Wish
from headstream.batch.manifest import read_manifest
from headstream.errors import SourceError, UsageError

ROOT = hasattr(os, "geteuid") and os.geteuid() == 0


def make(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def find(*inputs: object, out: object = "out", wish: Wish | None = None, recursive: bool = True) -> list[Item]:
    return find_items([str(i) for i in inputs], wish or Wish(), str(out), recursive=recursive)


def places(items: list[Item]) -> dict[str, str]:
    """Name of the input -> place of its result."""
    return {Path(item.input).name: item.place for item in items if not item.problem}


class TestFinding:
    def test_a_folder_stands_for_its_photos_and_videos(self, tmp_path: Path) -> None:
        make(tmp_path, "b.mp4", "a.JPG", "deep/er/c.mov", "notes.txt", ".hidden.mp4", ".cache/d.mp4")
        assert places(find(tmp_path)) == {"b.mp4": "b.mov", "a.JPG": "a", "c.mov": "deep/er/c.mov"}
        assert places(find(tmp_path, recursive=False)) == {"b.mp4": "b.mov", "a.JPG": "a"}

    def test_no_folder_ends_in_what_windows_leaves_out(self, tmp_path: Path) -> None:
        make(tmp_path, "me .jpg", "me.jpg", "Dr. X..jpg", "film .mp4")
        assert places(find(tmp_path)) == {
            "me .jpg": "me -jpg",
            "me.jpg": "me-jpg",
            "Dr. X..jpg": "Dr. X",
            "film .mp4": "film .mov",
        }

    def test_results_are_not_taken_for_inputs(self, tmp_path: Path) -> None:
        make(tmp_path, "a.mp4", "out/a.mov")
        assert places(find(tmp_path, out=tmp_path / "out")) == {"a.mp4": "a.mov"}
        assert places(find(tmp_path / "**" / "*.m??", out=tmp_path / "out")) == {"a.mp4": "a.mov"}

    def test_patterns_the_shell_did_not_expand(self, tmp_path: Path) -> None:
        make(tmp_path, "day1/a.mp4", "day2/a.mp4", "day2/b.txt")
        assert [item.place for item in find(tmp_path / "day*" / "*.mp4")] == ["day1/a.mov", "day2/a.mov"]
        assert [item.place for item in find(tmp_path / "day*")] == ["day1/a.mov", "day2/a.mov"]
        assert [item.place for item in find(tmp_path / "**" / "*.mp4")] == ["day1/a.mov", "day2/a.mov"]

    def test_a_name_with_brackets_is_a_name_where_it_exists(self, tmp_path: Path) -> None:
        make(tmp_path, "take[1].mp4")
        assert places(find(tmp_path / "take[1].mp4")) == {"take[1].mp4": "take[1].mov"}

    def test_what_is_named_twice_is_cut_once(self, tmp_path: Path) -> None:
        make(tmp_path, "a.mp4")
        assert len(find(tmp_path, tmp_path / "a.mp4", tmp_path / "*.mp4")) == 1

    def test_what_a_manifest_says_of_a_file_goes_before_its_folder(self, tmp_path: Path) -> None:
        make(tmp_path, "a.mp4", "b.mp4")
        (tmp_path / "m.csv").write_text("input,heads\na.mp4,all\n")
        for order in ((tmp_path, tmp_path / "m.csv"), (tmp_path / "m.csv", tmp_path)):
            wishes = {Path(item.input).name: item.wish.heads for item in find(*order)}
            assert wishes == {"a.mp4": "all", "b.mp4": "largest"}

    def test_what_cannot_be_found_has_a_problem(self, tmp_path: Path) -> None:
        make(tmp_path, "a.mp4", "empty/notes.txt")
        items = find(tmp_path / "a.mp4", tmp_path / "b.mp4", tmp_path / "*.mkv", tmp_path / "empty")
        said = [item.problem for item in items]
        assert said[0] == ""
        assert "no such file" in said[1]
        assert "no file matches" in said[2]
        assert "no photos or videos in this folder" in said[3]

    @pytest.mark.skipif(ROOT, reason="root may read everything")
    def test_a_folder_that_cannot_be_read_has_a_problem(self, tmp_path: Path) -> None:
        make(tmp_path, "a.mp4", "sub/b.mp4")
        (tmp_path / "sub").chmod(0)
        said = [item.problem for item in find(tmp_path)]
        (tmp_path / "sub").chmod(0o700)
        assert said == ["", f"{tmp_path / 'sub'}: no permission to read this folder"]


class TestPlaces:
    def test_same_names_in_different_folders(self, tmp_path: Path) -> None:
        make(tmp_path, "x/a.mp4", "y/a.mp4")
        assert [item.place for item in find(tmp_path / "x" / "a.mp4", tmp_path / "y" / "a.mp4")] == [
            "x/a.mov",
            "y/a.mov",
        ]
        assert [item.place for item in find(tmp_path / "x", tmp_path / "y")] == ["x/a.mov", "y/a.mov"]

    def test_the_place_does_not_depend_on_what_a_folder_holds(self, tmp_path: Path) -> None:
        make(tmp_path, "in/only/this/a.mp4")
        assert [item.place for item in find(tmp_path / "in")] == ["only/this/a.mov"]

    def test_names_that_differ_in_their_suffix_alone(self, tmp_path: Path) -> None:
        make(tmp_path, "talk.mp4", "talk.AVI", "other.mp4", "Talk.mov")
        found = sorted(item.place for item in find(tmp_path))
        assert found == ["Talk-mov.mov", "other.mov", "talk-avi.mov", "talk-mp4.mov"]

    def test_a_photo_and_a_sequence(self, tmp_path: Path) -> None:
        make(tmp_path, "ada.jpg", "ada.mp4")
        assert sorted(item.place for item in find(tmp_path)) == ["ada", "ada.mov"]
        assert sorted(i.place for i in find(tmp_path, wish=Wish(format="png"))) == ["ada-jpg", "ada-mp4"]

    def test_files_in_the_root_folder(self) -> None:
        assert _fixed_part(f"{os.sep}*.mp4") == os.sep

    def test_dots_in_names(self, tmp_path: Path) -> None:
        make(tmp_path, "take.v1.mp4", "take.v2.mp4")
        assert [item.place for item in find(tmp_path)] == ["take.v1.mov", "take.v2.mov"]

    def test_what_would_still_be_overwritten_is_refused(self, tmp_path: Path) -> None:
        make(tmp_path, "talk.mp4", "talk.avi", "talk-mp4.mkv")
        with pytest.raises(UsageError, match="would both be written to talk-mp4.mov"):
            find(tmp_path)

    def test_mattes_have_places_of_their_own(self, tmp_path: Path) -> None:
        make(tmp_path, "talk.mp4", "talk.matte.avi", "Me.Matte.jpg", "me.mp4")
        items = find(tmp_path, wish=Wish(matte="mov"))
        assert places(items) == {
            "talk.mp4": "talk-mp4.mov", "talk.matte.avi": "talk.matte-avi.mov", "me.mp4": "me.mov", "Me.Matte.jpg": "Me.Matte",
        }  # fmt: skip
        assert places(find(tmp_path, wish=Wish(matte="png")))["Me.Matte.jpg"] == "Me.Matte-jpg"
        assert places(find(tmp_path))["talk.mp4"] == "talk.mov"

    def test_what_breaks_off_has_a_place_of_its_own(self, tmp_path: Path) -> None:
        make(tmp_path, "talk.mp4", "talk.partial.mp4")
        for wish in (Wish(), Wish(format="png")):
            end = "" if wish.format == "png" else ".mov"
            expected = {"talk.mp4": f"talk-mp4{end}", "talk.partial.mp4": f"talk.partial-mp4{end}"}
            assert places(find(tmp_path, wish=wish)) == expected
        (tmp_path / "m.csv").write_text("input,out\ntalk.mp4,x\ntalk.partial.mp4,x.matte.partial\n")
        assert len(find(tmp_path / "m.csv")) == 2
        with pytest.raises(UsageError, match=r"would both be written to x\.matte\.partial\.mov"):
            find(tmp_path / "m.csv", wish=Wish(matte="mov"))

    def test_our_own_folder_is_ours(self, tmp_path: Path) -> None:
        make(tmp_path, ".headstream/a.mp4", "b.mp4")
        with pytest.raises(UsageError, match="headstream's own"):
            find(tmp_path / ".headstream" / "a.mp4", tmp_path / "b.mp4")

    def test_a_folder_called_as_the_list_of_results(self, tmp_path: Path) -> None:
        make(tmp_path, "results.jsonl.jpg", "results.jsonl.mp4")
        with pytest.raises(UsageError, match=r"results\.jsonl\.jpg: its result would lie in a folder results\.jsonl"):
            find(tmp_path / "results.jsonl.jpg")
        assert find(tmp_path / "results.jsonl.mp4")[0].place == "results.jsonl.mov"


class TestManifests:
    def manifest(self, folder: Path, text: str, name: str = "list.csv") -> Path:
        make(folder, "a.mp4", "sub/b.mp4", "p.jpg")
        path = folder / name
        path.write_text(text, encoding="utf-8")
        return path

    def test_csv(self, tmp_path: Path) -> None:
        text = "\ufeffinput,out,heads,background,format,_id\na.mp4,,all,,,7\nsub/b.mp4,x/y.webm,2,,,8\np.jpg,me,,,,\n"
        a, b, p = find(self.manifest(tmp_path, text))
        assert (a.input, a.place, a.wish.heads) == (str(tmp_path / "a.mp4"), "a.mov", "all")
        assert (b.place, b.wish.heads, b.wish.format) == ("x/y.webm", "2", "webm")
        assert (p.place, p.kind) == ("me", "photo")

    def test_jsonl(self, tmp_path: Path) -> None:
        text = '{"input": "a.mp4", "format": "mp4", "background": "#00ff00"}\n\n{"input": "sub/b.mp4", "heads": 2}\n'
        a, b = find(self.manifest(tmp_path, text, "list.jsonl"))
        assert (a.place, a.wish.background) == ("a.mp4", "#00ff00")
        assert (b.place, b.wish.heads) == ("sub/b.mov", "2")

    def test_jsonl_with_characters_that_end_lines_elsewhere(self, tmp_path: Path) -> None:
        text = '{"input": "a\u2028b\x85c.mp4"}\r\n{"input": "d.mp4"}\r\n'
        first, second = find(self.manifest(tmp_path, text, "list.jsonl"))
        assert (Path(first.input).name, Path(second.input).name) == ("a\u2028b\x85c.mp4", "d.mp4")

    def test_mattes_and_stages(self, tmp_path: Path) -> None:
        text = "input,matte,stages\na.mp4,png,\nsub/b.mp4,,\np.jpg,,Yes\n"
        a, b, p = find(self.manifest(tmp_path, text), wish=Wish(matte="mov"))
        assert (a.places, b.places, p.places) == (["a.mov", "a.matte"], ["sub/b.mov", "sub/b.matte.mov"], ["p"])
        assert (b.wish.stages, p.wish.stages) == (False, True)
        (p,) = find(self.manifest(tmp_path, '{"input": "p.jpg", "stages": false}', "p.jsonl"), wish=Wish(stages=True))
        assert p.wish.stages is False

    def test_hair_strand_by_strand(self, tmp_path: Path) -> None:
        a, p = find(self.manifest(tmp_path, "input,hq\na.mp4,\np.jpg,yes\n"))
        assert (a.wish.hq, p.wish.hq) == (False, True)

    def test_one_input_with_two_wishes(self, tmp_path: Path) -> None:
        text = "input,out,heads\na.mp4,one,1\na.mp4,two,2\n"
        assert [(i.place, i.wish.heads) for i in find(self.manifest(tmp_path, text))] == [
            ("one.mov", "1"),
            ("two.mov", "2"),
        ]

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("input,backgroud\na.mp4,blur\n", "list.csv:2: column 'backgroud' is not known; known: input, out"),
            ("file\na.mp4\n", "column 'file' is not known"),
            ("input;heads\na.mp4;all\n", "column 'input;heads' is not known; .* columns are set apart by commas"),
            ("input,heads\n,all\n", "list.csv:2: no input"),
            ("input,out\na.mp4,../x\n", "expected a name below the output folder"),
            ("input,out\na.mp4,/etc/x\n", "expected a name below"),
            ("input,out\na.mp4,C:/x\n", "expected a name below"),
            ("input,out\na.mp4,.\n", "expected a name below"),
            ("input,out,format\na.mp4,x.webm,mov\n", "out is x.webm but format is mov"),
            ("input\na.mp4,b.mp4\n", "more fields than"),
            ("input,heads,heads\na.mp4,all,1\n", "column 'heads' is there twice"),
            ("input,out\na.mp4,x\nsub/b.mp4,X\n", "would both be written to x.mov"),
            ("input,heads\na.mp4,1\na.mp4,2\n", "named twice with different wishes .* an out of its own"),
            ("input,codec\np.jpg,vp9\n", "is a photo; codec is for videos"),
            ("input,matte\np.jpg,mov\n", "is a photo; matte is for videos"),
            ("input,stages\na.mp4,yes\n", "is a video; stages is for photos"),
            ("input,hq\na.mp4,yes\n", "is a video; hq is for photos"),
            ("input,hq\np.jpg,maybe\n", "list.csv:2: hq is 'maybe'; expected yes or no"),
            ("input,stages\np.jpg,maybe\n", "list.csv:2: stages is 'maybe'; expected yes or no"),
            ("input,out\na.mp4,x\nsub/b.mp4,x.matte\n", "would both be written to x.matte.mov"),
        ],
    )
    def test_what_makes_no_sense_names_the_line(self, text: str, words: str, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match=words.replace("(", r"\(")):
            find(self.manifest(tmp_path, text), wish=Wish(matte="mov" if "x.matte" in text else None))

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ('{"input": "a.mp4"\n', ":1: not JSON"),
            ("[1]\n", "expected an object"),
            ('{"input": []}', "text"),
            ('{"input": ' + "[" * 100_000, ":1: not JSON"),
            ('{"input": "a\\u0000.mp4"}', ":1: input is .* such a character"),
            ('{"input": "a.mp4", "out": "\\ud800"}', ":1: out is .* such a character"),
        ],
    )
    def test_broken_jsonl(self, text: str, words: str, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match=words):
            find(self.manifest(tmp_path, text, "list.jsonl"))

    def test_an_empty_or_unreadable_manifest(self, tmp_path: Path) -> None:
        with pytest.raises(SourceError, match="no input is listed"):
            find(self.manifest(tmp_path, "input\n"))
        with pytest.raises(SourceError, match="cannot be read"):
            find(tmp_path / "missing.csv")
        (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
        with pytest.raises(SourceError, match="not UTF-8"):
            find(tmp_path / "binary.csv")


def test_a_background_is_looked_for_beside_its_manifest(tmp_path: Path) -> None:
    make(tmp_path, "lists/a.mp4", "lists/b.mp4", "lists/c.mp4")
    manifest = tmp_path / "lists" / "m.csv"
    manifest.write_text("input,background,format\na.mp4,room.png,mp4\nb.mp4,blur,mp4\nc.mp4,#00ff00,mp4\n")
    behind = [line.wish.background for line in read_manifest(str(manifest), Wish())]
    assert behind == [str(tmp_path / "lists" / "room.png"), "blur", "#00ff00"]
