"""What a data set knows of its pictures, and where it knows nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")

from headstream.errors import UsageError  # noqa: E402
from headstream.train.data import DataSet  # noqa: E402
from headstream.train.picture import BODY, HAIR, HEAD  # noqa: E402
from tests.train.made import SIDE, face  # noqa: E402


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
