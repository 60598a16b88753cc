"""Data sets as their makers distribute them, packed files, and pictures that hide in two splits."""

from __future__ import annotations

import json
import os
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from headstream.cli import main
from headstream.errors import SourceError, UsageError
from headstream.train.data import DataSet, read_names
from headstream.train.leaks import difference_hash, duplicates_between
from headstream.train.packed import pack
from headstream.train.picture import BASE_PLANES, BODY, CELEBA_PARTS, HAIR, HEAD, TARGETS, bounded, finished
from headstream.train.truth import read_grey, tells
from headstream.types import UInt8Array

pytest.importorskip("torch")
from tests.train.made import SIDE, face


def folders(root: Path, *names: str) -> None:
    for name in names:
        (root / name).mkdir(parents=True, exist_ok=True)


@pytest.fixture
def hq(tmp_path: Path) -> Path:
    """CelebAMask-HQ as distributed: 1024-px pictures in one folder, one 512-px file a part in folders of 2,000."""
    root = tmp_path / "CelebAMask-HQ"
    folders(root, "CelebA-HQ-img", "CelebAMask-HQ-mask-anno/0", "CelebAMask-HQ-mask-anno/1")
    for number in (7, 2001):
        rgb, label = face(number)
        Image.fromarray(rgb).resize((2 * SIDE, 2 * SIDE), Image.Resampling.NEAREST).save(
            root / "CelebA-HQ-img" / f"{number}.jpg"
        )
        for part, value in (("skin", 1), ("hair", 13), ("neck", 17), ("cloth", 18)):
            mask = np.where(label == value, 255, 0).astype(np.uint8)
            name = f"{number:05d}_{part}.png"
            Image.fromarray(np.dstack([mask] * 3)).save(root / "CelebAMask-HQ-mask-anno" / str(number // 2000) / name)
    return root


class TestKinds:
    def test_celebamask_hq_as_distributed(self, hq: Path) -> None:
        data = DataSet("celebamask-hq", hq)
        assert data.names == ("2001", "7")
        for name in data.names:
            _, label = face(int(name))
            picture = data.load(name)
            assert picture.rgb.shape == (2 * SIDE, 2 * SIDE, 3)
            small = picture.target[::2, ::2]
            assert ((small[..., HEAD] > 0) == np.isin(label, [1, 13])).all()
            assert ((small[..., HAIR] > 0) == (label == 13)).all()
            assert ((small[..., BODY] > 0) == np.isin(label, [17, 18])).all()
            assert (picture.known == 255).all()

    def test_a_folder_that_may_not_be_read_is_told(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        folders(tmp_path, "images", "masks")
        for name in ("images/1.png", "masks/1.png"):
            Image.new("L", (8, 8)).save(tmp_path / name)
        opened = DataSet("masks", tmp_path)

        def refused(path: Path) -> Any:
            raise PermissionError(13, "Permission denied", str(path))

        monkeypatch.setattr(Path, "iterdir", refused)
        with pytest.raises(UsageError, match=r"data set .* cannot be read: .*images: Permission denied"):
            DataSet("masks", tmp_path)
        monkeypatch.setattr(Path, "exists", refused)
        with pytest.raises(UsageError, match=r"data set .* cannot be read: .*1\.png: Permission denied"):
            opened.check_truth()

    def test_all_parts_beside_head_hair_and_body(self, hq: Path) -> None:
        planes = BASE_PLANES + tuple(p for p in TARGETS["parts"] if p not in BASE_PLANES)
        picture = DataSet("celebamask-hq", hq, planes=planes).load("7")
        _, label = face(7)
        for part in ("skin", "neck", "cloth", "nose"):
            found = picture.target[::2, ::2, planes.index(part)] > 0
            assert (found == (label == CELEBA_PARTS.index(part) + 1)).all()

    def test_a_folder_of_pictures_and_masks(self, tmp_path: Path) -> None:
        folders(tmp_path, "images", "masks")
        rgb, label = face(1)
        Image.fromarray(rgb).save(tmp_path / "images" / "a.png")
        head = np.isin(label, [1, 13])
        Image.fromarray(np.where(head, 255, 0).astype(np.uint8)).save(tmp_path / "masks" / "a.png")
        picture = DataSet("masks", tmp_path).load("a")
        assert ((picture.target[..., HEAD] > 0) == head).all()
        assert picture.known.reshape(-1, 3).min(axis=0).tolist() == [255, 0, 0]
        hair = DataSet("masks", tmp_path, plane="hair").load("a")
        assert ((hair.known[..., HEAD] > 0) == head).all()

    def test_truth_of_another_shape_is_not_stretched(self, hq: Path, tmp_path: Path) -> None:
        folders(tmp_path, "images", "masks", "labels", "soft")
        picture, exif = Image.new("RGB", (78, 128)), Image.Exif()
        exif[0x0112] = 6  # a quarter turn: shown as 128x78
        picture.save(tmp_path / "images" / "a.jpg", exif=exif)
        (tmp_path / "labels.txt").write_text("null skin hair")

        def refused(data: DataSet, truth: Path, words: str) -> None:
            for size, advice in ((picture.size, "turn the mask, too"), ((128, 128), "scale or crop it as the picture")):
                Image.new("RGB", size).save(truth)
                with pytest.raises(SourceError, match=rf"{truth.name}: is {size[0]}x{size[1]}.*{words}; .*{advice}"):
                    data.load(data.names[0])

        for kind, folder in (
            ("masks", "masks"),
            ("celebamask", "labels"),
            ("fullbody", "labels"),
            ("lfw-parts", "labels"),
        ):
            refused(DataSet(kind, tmp_path), tmp_path / folder / "a.png", r"images/a\.jpg, 128x78")
        pseudo = DataSet("pictures", tmp_path, pseudo=tmp_path / "soft")
        refused(pseudo, tmp_path / "soft" / "a.png", r"images/a\.jpg, 128x78")
        Image.new("RGB", picture.size).save(hq / "CelebA-HQ-img" / "7.jpg", exif=exif)
        mask = hq / "CelebAMask-HQ-mask-anno" / "0" / "00007_skin.png"
        refused(DataSet("celebamask-hq", hq, names=("7",)), mask, r"7\.jpg, 128x78")

    @pytest.mark.parametrize("size", [(128, 78), (64, 39), (37, 23), (36, 22), (256, 156), (300, 183), (129, 78)])
    def test_truth_of_another_size_is_scaled(self, tmp_path: Path, size: tuple[int, int]) -> None:
        folders(tmp_path, "images", "masks")
        Image.new("RGB", (128, 78)).save(tmp_path / "images" / "a.png")
        Image.new("L", size, 255).save(tmp_path / "masks" / "a.png")
        assert DataSet("masks", tmp_path).load("a").target[..., HEAD].min() == 255

    @pytest.mark.parametrize("suffix", [".ppm", ".png"])
    def test_lfw_part_labels(self, tmp_path: Path, suffix: str) -> None:
        folders(tmp_path, "images", "labels")
        rgb, label = face(2)
        Image.fromarray(rgb).save(tmp_path / "images" / "a.jpg")
        colours: UInt8Array = np.zeros((SIDE, SIDE, 3), np.uint8)
        colours[..., 2] = 255
        colours[label > 0] = (0, 255, 0)
        colours[label == 13] = (255, 0, 0)
        Image.fromarray(colours).save(tmp_path / "labels" / f"a{suffix}")
        picture = DataSet("lfw-parts", tmp_path).load("a")
        assert ((picture.target[..., HAIR] > 0) == (label == 13)).all()
        assert (picture.known[..., HEAD][label == 0] == 255).all()
        assert (picture.known[..., HEAD][label == 1] == 0).all()  # face and neck are one colour

    def test_damaged_truth_is_an_error_that_names_the_file(self, hq: Path) -> None:
        mask = next((hq / "CelebAMask-HQ-mask-anno").rglob("00007_*.png"))
        mask.write_bytes(b"no mask")
        with pytest.raises(SourceError, match=rf"{mask.name}: is not a mask that can be read"):
            DataSet("celebamask-hq", hq).load("7")
        (hq / "CelebA-HQ-img" / "7.jpg").write_bytes(b"no picture")
        with pytest.raises(SourceError, match=r"7\.jpg: is not a picture that can be read"):
            DataSet("celebamask-hq", hq).load("7")

    def test_lists_of_names(self, tmp_path: Path) -> None:
        (tmp_path / "names.txt").write_text("a\nb\n\n")
        assert read_names(tmp_path / "names.txt") == {"a", "b"}
        (tmp_path / "names.txt").write_text("my photo 1\r\n images/00012.jpg\nFrame.v2\n", encoding="utf-8-sig")
        assert read_names(tmp_path / "names.txt") == {"my photo 1", "00012", "Frame.v2"}
        (tmp_path / "names.txt").write_text("# the test\n#\n 00012\t0.87\na.jpg # blurred\nphoto #1\n#2.png\nb.Jpg\n")
        assert read_names(tmp_path / "names.txt") == {"00012", "a", "photo #1", "#2", "b"}
        with pytest.raises(UsageError, match="does not exist"):
            read_names(tmp_path / "none.txt")
        with pytest.raises(UsageError, match="cannot be read: Is a directory"):
            read_names(tmp_path)
        assert read_names(Path(os.devnull)) == frozenset()

    def test_pictures_of_all_endings_and_no_others(self, tmp_path: Path) -> None:
        folders(tmp_path, "images", "masks")
        rgb, _ = face(3)
        for name in ("a.jpeg", "b.JPG", "c.PNG", "d.jpg", "d.png", "e.Jpg"):
            Image.fromarray(rgb).save(tmp_path / "images" / name)
        (tmp_path / "images" / "._a.jpeg").write_bytes(b"what macOS leaves in archives")
        data = DataSet("pictures", tmp_path)
        assert data.names == ("a", "b", "c", "d", "e")
        assert all(data.load(name).rgb.shape == rgb.shape for name in data.names)

    @pytest.mark.skipif(sys.platform in {"win32", "darwin"}, reason="there all names are Unicode")
    def test_names_that_are_no_text_are_told(self, tmp_path: Path, capsys: Any) -> None:
        Image.new("L", (8, 8)).save(tmp_path / "a.png")
        (tmp_path / "a.png").rename(os.fsdecode(bytes(tmp_path) + b"/caf\xe9.png"))
        with pytest.raises(UsageError, match=r"'caf\\udce9' is no name in UTF-8.*; rename it"):
            DataSet("pictures", tmp_path)
        assert main(["pack", f"pictures:{tmp_path}", "--out", str(tmp_path / "p.zip")]) == 2
        assert "rename it" in capsys.readouterr().err
        Image.new("L", (8, 8)).save(tmp_path / "café.png")
        assert DataSet("pictures", tmp_path, exclude=frozenset({os.fsdecode(b"caf\xe9")})).names == ("café",)

    def test_masks_of_0_and_1(self, tmp_path: Path) -> None:
        folders(tmp_path, "images", "masks")
        rgb, label = face(3)
        hair = (label == 13).astype(np.uint8)
        palette = Image.fromarray(hair, mode="P")
        palette.putpalette([0, 0, 0, 128, 0, 0])
        for name, mask in (("numpy", Image.fromarray(hair)), ("palette", palette), ("none", Image.fromarray(hair * 0))):
            Image.fromarray(rgb).save(tmp_path / "images" / f"{name}.png")
            mask.save(tmp_path / "masks" / f"{name}.png")
            where = DataSet("masks", tmp_path).load(name).target[..., HEAD] > 127
            assert (where == (hair > 0) * (name != "none")).all()

    def test_greys_in_a_palette_are_greys(self, tmp_path: Path) -> None:
        folders(tmp_path, "images", "masks", "labels")
        rgb, label = face(3)
        Image.fromarray(rgb).save(tmp_path / "images" / "a.png")
        hair = label == 13
        for dark in (0, 1):  # which of the two numbers stands for black
            mask = Image.fromarray((hair ^ (dark == 1)).astype(np.uint8), mode="P")
            mask.putpalette([0, 0, 0, 255, 255, 255][:: 1 - 2 * dark])
            mask.save(tmp_path / "masks" / "a.png")
            assert ((DataSet("masks", tmp_path).load("a").target[..., HEAD] > 127) == hair).all()
        classes, numbers = np.unique(label, return_inverse=True)
        small = Image.fromarray(numbers.reshape(label.shape).astype(np.uint8), mode="P")
        small.putpalette(np.repeat(classes, 3).tolist())
        small.save(tmp_path / "labels" / "a.png")
        assert ((DataSet("celebamask", tmp_path).load("a").target[..., HAIR] > 0) == hair).all()

    def test_a_png_that_breaks_between_its_parts(self, tmp_path: Path) -> None:
        noise = np.random.default_rng(0).integers(0, 256, (400, 400), np.uint8)
        Image.fromarray(noise).save(tmp_path / "a.png")
        data = (tmp_path / "a.png").read_bytes()
        second = data.index(b"IDAT", data.index(b"IDAT") + 4)
        (tmp_path / "a.png").write_bytes(data[:second] + bytes(4) + data[second + 4 :])
        with pytest.raises(SourceError, match=r"a\.png: is not a mask that can be read"):
            read_grey(tmp_path / "a.png")

    def test_truth_that_is_none_is_told(self, hq: Path, tmp_path: Path) -> None:
        for part in (hq / "CelebAMask-HQ-mask-anno" / "1").iterdir():
            part.unlink()
        with pytest.raises(UsageError, match="1 of 2 pictures have no truth in CelebAMask-HQ-mask-anno/, such as 2001"):
            DataSet("celebamask-hq", hq).check_truth()
        folders(tmp_path / "flat", "images", "labels")
        rgb, label = face(3)
        Image.fromarray(rgb).save(tmp_path / "flat" / "images" / "a.png")
        Image.fromarray(label * 10).save(tmp_path / "flat" / "labels" / "a.png")
        with pytest.raises(SourceError, match=r"labels/a\.png: is no map of classes 0 to 18: it holds 180"):
            DataSet("celebamask", tmp_path / "flat").load("a")

    def test_classes_that_cannot_be_told_are_named(self, tmp_path: Path) -> None:
        folders(tmp_path, "images", "labels")
        for folder in ("images", "labels"):
            Image.new("L", (8, 8)).save(tmp_path / folder / "a.png")
        data = DataSet("fullbody", tmp_path)
        for text, words in (
            (None, "has no labels.txt with"),
            (b"background\nskin\n", r"labels\.txt names no null, hair: it is to name all classes in order"),
            ("null skin hair café".encode("latin-1"), r"labels\.txt is not text in UTF-8"),
        ):
            if text is not None:
                (tmp_path / "labels.txt").write_bytes(text)
            with pytest.raises(UsageError, match=words):
                data.check_truth()
        (tmp_path / "labels.txt").write_text("null\nskin\nhair\n", encoding="utf-8-sig")
        data.check_truth()
        assert data.load("a").known.min() == 255

    def test_who_tells_a_plane_from_all_else(self, hq: Path) -> None:
        def told(kind: str, **more: Any) -> set[str]:
            data = DataSet("pictures", hq / "CelebA-HQ-img", planes=(*BASE_PLANES, "face"))
            return {plane for plane in data.planes if tells(replace(data, kind=kind, **more), plane)}

        assert told("celebamask-hq") == {"head", "hair", "body", "face"}
        assert told("hair") == told("masks", plane="hair") == {"hair"}
        assert told("hair", pseudo=hq) == {"head", "hair", "body"}
        assert told("masks", plane="face") == {"face"}
        assert told("pictures") == set()


class TestPacked:
    def test_it_holds_what_the_folder_holds(self, hq: Path, tmp_path: Path) -> None:
        data = DataSet("celebamask-hq", hq, faces={"7": (20.0, 30.0, 120.0, 130.0)})
        pack(data, tmp_path / "p.zip", side=SIDE)
        packed = DataSet("packed", tmp_path / "p.zip")
        assert packed.names == data.names
        before, after = data.load("7"), packed.load("7")
        assert after.rgb.shape == (SIDE, SIDE, 3)
        small = cv2.resize(before.target, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        assert (after.target == small).all()
        assert (after.known == 255).all()
        assert after.face_px == (10.0, 15.0, 60.0, 65.0)
        assert np.abs(after.rgb.astype(int) - cv2.resize(before.rgb, (SIDE, SIDE), interpolation=3)).mean() < 4
        assert packed.load("2001").face_px is None

    def test_partly_known_truth_and_many_planes(self, hq: Path, tmp_path: Path) -> None:
        planes = BASE_PLANES + tuple(p for p in TARGETS["parts"] if p not in BASE_PLANES)
        folders(tmp_path / "h", "images", "hair")
        rgb, label = face(3)
        Image.fromarray(rgb).save(tmp_path / "h" / "images" / "a.png")
        Image.fromarray(np.where(label == 13, 255, 0).astype(np.uint8)).save(tmp_path / "h" / "hair" / "a.png")
        data = DataSet("hair", tmp_path / "h", planes=planes)
        pack(data, tmp_path / "p.zip", side=SIDE)
        again = DataSet("packed", tmp_path / "p.zip", planes=planes).load("a")
        assert (again.known == data.load("a").known).all()
        assert (again.target == data.load("a").target).all()
        assert not tells(DataSet("packed", tmp_path / "p.zip"), "head")
        assert tells(DataSet("packed", tmp_path / "p.zip"), "hair")
        pack(replace(data, planes=BASE_PLANES), tmp_path / "q.zip", side=SIDE)
        with pytest.raises(UsageError, match="packed without skin, nose"):
            DataSet("packed", tmp_path / "q.zip", planes=planes).load("a")

    def test_the_clock_has_no_part_in_it(self, hq: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, now_s in (("p.zip", 0), ("q.zip", 2**33)):  # of a machine whose clock nobody has set
            monkeypatch.setattr("time.time", lambda now_s=now_s: now_s)
            pack(DataSet("celebamask-hq", hq), tmp_path / name, side=SIDE)
        assert (tmp_path / "p.zip").read_bytes() == (tmp_path / "q.zip").read_bytes()

    def test_as_large_as_asked_for(self, tmp_path: Path) -> None:
        folders(tmp_path / "s", "images")
        Image.new("RGB", (900, 450)).save(tmp_path / "s" / "images" / "a.png")
        data = DataSet("pictures", tmp_path / "s")
        assert data.load("a").rgb.shape == (320, 640, 3)
        pack(data, tmp_path / "p.zip", side=800)
        packed = DataSet("packed", tmp_path / "p.zip")
        assert packed.load("a").rgb.shape == (400, 800, 3)
        pack(packed, tmp_path / "small.zip", side=200)
        assert DataSet("packed", tmp_path / "small.zip").load("a").rgb.shape == (100, 200, 3)

    def test_one_of_an_earlier_version_tells_all_it_holds(self, tmp_path: Path) -> None:
        with zipfile.ZipFile(tmp_path / "p.zip", "w") as file:
            file.writestr("index.json", json.dumps({"planes": BASE_PLANES, "faces": {"a": None}}))
        data = DataSet("packed", tmp_path / "p.zip")
        assert [tells(data, plane) for plane in (*BASE_PLANES, "skin")] == [True, True, True, False]

    def test_a_damaged_picture_in_it_is_named(self, hq: Path, tmp_path: Path) -> None:
        pack(DataSet("celebamask-hq", hq), tmp_path / "p.zip", side=SIDE)
        whole = bytearray((tmp_path / "p.zip").read_bytes())
        whole[200] ^= 255
        (tmp_path / "p.zip").write_bytes(whole)
        with pytest.raises(SourceError, match=r"p\.zip: 2001 in it is damaged"):
            DataSet("packed", tmp_path / "p.zip").load("2001")

    def test_the_command(self, hq: Path, tmp_path: Path, capsys: Any) -> None:
        out = tmp_path / "hq.zip"
        assert main(["pack", f"celebamask-hq:{hq}", "--out", str(out), "--side", "64", "--target", "parts"]) == 0
        assert "2 pictures" in capsys.readouterr().err
        assert len(DataSet("packed", out).names) == 2
        assert main(["pack", str(hq), "--out", str(out)]) == 2
        assert main(["pack", f"celebamask-hq:{hq}", "--out", str(out), "--side", "0"]) == 2
        assert main(["pack", f"celebamask-hq:{hq}", "--out", str(out), "--target", "nose"]) == 2
        (tmp_path / "folder.zip").mkdir()
        (tmp_path / "me.jpg").write_text("a photo")
        for name, words in (("folder.zip", "is a folder"), ("me.jpg", "is a packed file; name it .zip")):
            assert main(["pack", f"celebamask-hq:{hq}", "--out", str(tmp_path / name)]) == 2
            assert words in capsys.readouterr().err
        assert (tmp_path / "me.jpg").read_text() == "a photo"

    @pytest.mark.parametrize("target", ["head", "hair", "face"])
    def test_masks_are_packed_as_what_they_are_to_teach(self, tmp_path: Path, target: str, capsys: Any) -> None:
        folders(tmp_path, "images", "masks")
        rgb, label = face(1)
        Image.fromarray(rgb).save(tmp_path / "images" / "a.png")
        Image.fromarray(np.where(label == 13, 255, 0).astype(np.uint8)).save(tmp_path / "masks" / "a.png")
        command = ["pack", f"masks:{tmp_path}", "--out", str(tmp_path / "p.zip"), "--target"]
        assert main([*command, target]) == 0
        planes = tuple(dict.fromkeys((*BASE_PLANES, target)))
        data = DataSet("packed", tmp_path / "p.zip", planes=planes)
        assert [plane for plane in planes if tells(data, plane)] == [target]
        assert ((data.load("a").target[..., planes.index(target)] > 127) == (label == 13)).all()
        assert main([*command, "parts"]) == 2
        assert "masks are of one plane" in capsys.readouterr().err

    def test_another_file_is_no_packed_set(self, tmp_path: Path) -> None:
        (tmp_path / "x.zip").write_bytes(b"PK no")
        with pytest.raises(UsageError, match="is not a packed data set"):
            DataSet("packed", tmp_path / "x.zip")


class TestLeaks:
    def test_the_same_picture_under_another_name_is_found(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(0)
        for split in ("train", "test"):
            folders(tmp_path / split, "images")
        pictures = [
            cv2.GaussianBlur(rng.integers(0, 256, (80, 80, 3), dtype=np.uint8), (0, 0), 6).astype(np.float32)
            for _ in range(6)
        ]
        for number, picture in enumerate(pictures):
            flat = cv2.normalize(picture, np.empty_like(picture), 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
            split = "train" if number < 4 else "test"
            Image.fromarray(flat).save(tmp_path / split / "images" / f"{number}.png")
            if number == 2:  # smaller, brighter, and a JPEG
                small = cv2.resize(cv2.convertScaleAbs(flat, alpha=0.8, beta=30), (50, 50), interpolation=3)
                Image.fromarray(small).save(tmp_path / "test" / "images" / "copy.jpg", quality=70)
        train, test = (DataSet("pictures", tmp_path / split) for split in ("train", "test"))
        (found,) = duplicates_between([train], [test])
        assert (found.first, found.second) == ("train/2", "test/copy")
        every = duplicates_between([train], [test], bits=64)
        assert len(every) == 4 * 3
        assert [pair.bits for pair in every] == sorted(pair.bits for pair in every)
        bits = every[1].bits
        assert max(pair.bits for pair in duplicates_between([train], [test], bits=bits)) == bits
        assert duplicates_between([train], []) == []

    def test_a_hash_is_64_bits(self) -> None:
        ramp = np.tile(np.arange(0, 180, dtype=np.uint8)[None, :, None], (80, 1, 3))
        assert difference_hash(ramp).tolist() == [255] * 8
        assert difference_hash(np.ascontiguousarray(ramp[:, ::-1])).tolist() == [0] * 8


def test_a_part_is_where_its_file_is_white(hq: Path) -> None:
    """Scaled by somebody, it has greys along its edge."""
    path = hq / "CelebAMask-HQ-mask-anno" / "0" / "00007_l_ear.png"
    grey = np.zeros((SIDE, SIDE), np.uint8)
    grey[:10, :10], grey[20:30, :10] = 100, 200
    Image.fromarray(grey).save(path)
    head = DataSet("celebamask-hq", hq, names=("7",)).load("7").target[::2, ::2, HEAD]
    assert not head[:10, :10].any()
    assert head[20:30, :10].all()


def test_classes_of_another_size_are_none_between_them(tmp_path: Path) -> None:
    folders(tmp_path, "images", "labels")
    Image.new("RGB", (128, 96)).save(tmp_path / "images" / "a.png")
    label = np.zeros((48, 64), np.uint8)
    label[:, 32:] = 18  # between it and nothing lie the numbers of a head
    Image.fromarray(label).save(tmp_path / "labels" / "a.png")
    target = DataSet("celebamask", tmp_path).load("a").target
    assert not target[..., [HEAD, HAIR]].any()
    assert (target[..., BODY] > 0).mean() == pytest.approx(0.5, abs=0.02)


def test_large_pictures_come_smaller_also_with_a_teachers_labels(tmp_path: Path) -> None:
    folders(tmp_path, "images", "hair", "soft")
    for folder, mode in (("images", "RGB"), ("hair", "L"), ("soft", "RGB")):
        Image.new(mode, (1000, 500)).save(tmp_path / folder / "a.png")
    for pseudo in (None, tmp_path / "soft"):
        picture = DataSet("hair", tmp_path, pseudo=pseudo).load("a")
        assert picture.rgb.shape[:2] == picture.target.shape[:2] == (320, 640)


def test_smaller_is_known_what_is_known_all_over_and_cut_out_who_is_known_as_a_whole() -> None:
    rgb, planes = np.zeros((40, 40, 3), np.uint8), np.full((40, 40, 3), 255, np.uint8)
    known = planes.copy()
    assert finished(rgb, planes, known, None).person is not None
    known[:, :21, BODY] = 0
    whole = finished(rgb, planes, known, None)
    assert whole.person is None
    assert (bounded(whole, 20).known[..., BODY] == np.where(np.arange(20) < 11, 0, 255)).all()


def test_skin_just_above_the_chins_end_is_not_known(tmp_path: Path) -> None:
    folders(tmp_path, "images", "labels")
    Image.new("RGB", (100, 200)).save(tmp_path / "images" / "a.png")
    Image.fromarray(np.full((200, 100), 2, np.uint8)).save(tmp_path / "labels" / "a.png")
    (tmp_path / "labels.txt").write_text("null hair skin")
    picture = DataSet("fullbody", tmp_path, faces={"a": (20.0, 20.0, 80.0, 80.0)}).load("a")
    told = {y: (int(picture.target[y, 50, HEAD]), int(picture.known[y, 50, HEAD])) for y in (60, 76, 95, 120)}
    assert told == {60: (255, 255), 76: (0, 0), 95: (0, 0), 120: (0, 255)}
