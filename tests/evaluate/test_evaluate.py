"""Scores by hand and against independent arithmetic; a report made of real mattes and read back as a page."""

from __future__ import annotations

import csv
import dataclasses
import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("jinja2")

from headstream.cli import main
from headstream.errors import ModelError, SinkError
from headstream.evaluate.charts import WIDTH, Series, chart
from headstream.evaluate.metrics import (
    boundary_f,
    calibration_curve,
    histograms,
    outline,
    score_picture,
    summarise,
    threshold_curve,
)
from headstream.evaluate.models import EvaluationJob, _labels, _log_of, _opened
from headstream.evaluate.pictures import error_map, overlaid
from headstream.evaluate.report import best_of, charts, choose, write_report
from headstream.evaluate.run import Evaluation, evaluate, read_matte, write_results
from headstream.segment.registry import find_model
from headstream.train.data import DataSet
from headstream.types import UInt8Array
from tests.media import files_of_at_most
from tests.web.browser import chromium, in_a_browser

TOOL = Path(__file__).resolve().parents[3] / "shared" / "tools" / "score_heads.py"


def square(x0: int, x1: int, side: int = 40) -> Any:
    mask = np.zeros((side, side), np.bool_)
    mask[10:30, x0:x1] = True
    return mask


class TestMetrics:
    def test_one_picture_by_hand(self) -> None:
        truth = square(10, 30)  # 400 pixels
        alpha = np.where(square(15, 35), 0.8, 0.0).astype(np.float32)  # 300 of them right, 100 beside
        score = score_picture("a", alpha, truth)
        assert (score.tp, score.fp, score.fn, score.tn) == (300, 100, 100, 1100)
        assert score.iou == pytest.approx(300 / 500)
        assert score.dice == pytest.approx(600 / 800)
        assert score.precision == score.recall == pytest.approx(0.75)
        assert score.accuracy == pytest.approx(1400 / 1600)
        assert score.mad == pytest.approx((300 * 0.2 + 100 * 0.8 + 100) / 1600 * 1000, rel=1e-5)

    def test_unknown_pixels_do_not_count(self) -> None:
        truth, known = square(10, 30), np.ones((40, 40), np.bool_)
        known[:, 30:] = False
        score = score_picture("a", square(10, 40).astype(np.float32), truth, known=known)
        assert (score.iou, score.mad) == (1.0, 0.0)

    def test_the_neck(self) -> None:
        alpha = np.full((40, 40), 0.25, np.float32)
        assert score_picture("a", alpha, square(0, 9), below=square(10, 30)).neck_leak == pytest.approx(0.25)
        assert score_picture("a", alpha, square(0, 9), below=np.zeros((40, 40), np.bool_)).neck_leak is None

    def test_outlines(self) -> None:
        mask = square(10, 30)
        assert outline(mask).sum() == 4 * 20 - 4
        assert outline(np.ones((40, 40), np.bool_)).sum() == 0  # the picture's border is none
        assert boundary_f(mask, mask, 1) == 1.0
        assert boundary_f(square(10, 30), square(11, 31), 1) == 1.0
        assert 0 < boundary_f(square(10, 30), square(14, 34), 1) < 0.8
        assert boundary_f(mask, np.zeros_like(mask), 1) == 0.0
        assert boundary_f(np.zeros_like(mask), np.zeros_like(mask), 1) == 1.0

    def test_empty_pictures_that_are_left_empty_are_right(self) -> None:
        nothing = np.zeros((8, 8), np.bool_)
        assert score_picture("a", nothing.astype(np.float32), nothing).iou == 1.0

    def test_sizes_must_agree(self) -> None:
        with pytest.raises(ValueError, match=r"\(4, 4\) against a truth of \(5, 5\)"):
            score_picture("a", np.zeros((4, 4), np.float32), np.zeros((5, 5), np.bool_))

    def test_global_and_mean(self) -> None:
        big = score_picture("big", square(10, 30).astype(np.float32), square(10, 30))
        off = score_picture("off", np.zeros((40, 40), np.float32), square(10, 20))
        both = summarise([big, off])
        assert both["iou"] == pytest.approx(400 / 600, abs=1e-5)
        assert both["mean_iou"] == pytest.approx(0.5)
        assert "neck_leak" not in both
        assert summarise([]) == {"n": 0}

    def test_unknown_pixels_have_no_outline_and_no_level(self) -> None:
        truth, known = square(10, 30), np.ones((40, 40), np.bool_)
        known[:, 28:] = False
        alpha = square(10, 40).astype(np.float32)
        assert score_picture("a", alpha, truth, known=known).boundary_f == 1
        assert score_picture("a", alpha, truth).boundary_f < 0.9
        assert histograms(alpha, truth, known).sum() == known.sum()

    def test_an_outline_may_be_off_by_more_in_a_larger_picture(self) -> None:
        scores = []
        for side in (256, 1024):
            truth, alpha = np.zeros((side, side), np.bool_), np.zeros((side, side), np.float32)
            truth[50:200, 50:200], alpha[50:200, 54:204] = True, 1
            scores.append(score_picture("a", alpha, truth).boundary_f)
        assert scores[0] < 0.8
        assert scores[1] == 1

    def test_the_time_of_one_picture(self) -> None:
        """The first may take long, as whatever is loaded then does."""
        several = [score_picture("a", np.zeros((4, 4), np.float32), square(0, 9)[:4, :4], ms=ms) for ms in (900, 4, 6)]
        assert summarise(several)["ms"] == 6

    def test_curves_agree_with_counting(self) -> None:
        rng = np.random.default_rng(0)
        alpha = rng.random((60, 60)).astype(np.float32)
        truth = rng.random((60, 60)) < alpha  # means what it says
        counts = histograms(alpha, truth)
        assert counts.sum() == 3600
        for threshold, iou, precision, recall in threshold_curve(counts):
            hit = np.round(alpha * 255) / 255 > threshold
            assert iou == pytest.approx((hit & truth).sum() / (hit | truth).sum(), abs=1e-9)
            assert precision == pytest.approx((hit & truth).sum() / hit.sum(), abs=1e-9)
            assert recall == pytest.approx((hit & truth).sum() / truth.sum(), abs=1e-9)
        rows = calibration_curve(counts)
        assert len(rows) == 10
        assert sum(row[2] for row in rows) == pytest.approx(1)
        assert all(abs(mean - share) < 0.08 for mean, share, _ in rows)
        assert len(calibration_curve(histograms(truth.astype(np.float32), truth))) == 2


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The portrait that ships, four times, with a drawn truth."""
    import headstream

    root = tmp_path_factory.mktemp("faces")
    (root / "images").mkdir()
    (root / "labels").mkdir()
    portrait = Image.open(Path(headstream.__file__).parent / "assets" / "astronaut.jpg").convert("RGB")
    for number in range(4):
        crop = portrait.crop((83 - 6 * number, 0, 371 - 6 * number, 288)).resize((200, 200))
        crop.save(root / "images" / f"{number}.png")
        label: UInt8Array = np.zeros((200, 200), np.uint8)
        label[25:125, 65 + 4 * number : 130 + 4 * number] = 1
        label[60:75, 65:75] = 13
        label[130:] = 18
        Image.fromarray(label).save(root / "labels" / f"{number}.png")
    return root


class Page(HTMLParser):
    """Counts what is on a page and notes what it would load from elsewhere."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: dict[str, int] = {}
        self.elsewhere: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] = self.tags.get(tag, 0) + 1
        for key, value in attrs:
            if key in {"src", "href"} and not (value or "").startswith("data:"):
                self.elsewhere.append(str(value))


class TestCommand:
    def test_a_comparison_as_a_user_runs_it(self, faces: Path, tmp_path: Path, capsys: Any) -> None:
        arguments = ["evaluate", "--compare", "lite", "default", "--data", f"celebamask:{faces}", "--json"]
        assert main([*arguments, "--out", str(tmp_path)]) == 0
        told = json.loads(capsys.readouterr().out)
        assert [m["model"] for m in told["models"]] == ["lite", "default"]
        assert told["models"][0]["iou"] == pytest.approx(told["models"][1]["iou"], abs=0.005)
        assert min(model["iou"] for model in told["models"]) > 0.6
        assert told["models"][0]["n"] == 4
        assert told["models"][0]["file_mb"] > 1
        with (tmp_path / "lite" / "pictures.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert [row["name"] for row in rows] == ["0", "1", "2", "3"]
        assert Image.open(tmp_path / "lite" / "worst.jpg").size == (4 * 192, 4 * 210)
        text = (tmp_path / "report.html").read_text()
        page = Page(text)
        assert page.elsewhere == []
        assert page.tags["svg"] == 3
        assert page.tags["img"] == 4 * (2 + 2 * 3)
        assert "prefers-color-scheme: dark" in text
        assert f"{told['models'][0]['iou']:.4f}" in text

    def test_on_a_full_disk_results_are_whole_or_what_they_were(self, faces: Path, tmp_path: Path) -> None:
        data = DataSet("celebamask", faces, largest_px=None)

        def made(value: float) -> Evaluation:
            return evaluate(
                "x", lambda rgb: np.full(rgb.shape[:2], value, np.float32), data, "head", out=tmp_path / "mattes"
            )

        result = made(0)
        write_results(result, data, tmp_path / "mattes", tmp_path)
        before = {path: path.read_bytes() for path in tmp_path.rglob("*.*")}
        with (
            files_of_at_most(len(before[tmp_path / "curves.json"]) - 1),
            pytest.raises(SinkError, match=r"curves\.json"),
        ):
            write_results(result, data, tmp_path / "mattes", tmp_path)
        with files_of_at_most(60), pytest.raises(SinkError, match=r"\.png: the file grew"):
            made(1)
        assert {path: path.read_bytes() for path in tmp_path.rglob("*.*")} == before

    def test_it_scores_as_the_release_tool_does(self, faces: Path, tmp_path: Path, capsys: Any) -> None:
        if not TOOL.exists():
            pytest.skip("the scoring tool is not beside the checkout")
        data = ["--data", f"celebamask:{faces}"]
        assert main(["evaluate", "lite", *data, "--out", str(tmp_path), "--json"]) == 0
        ours = json.loads(capsys.readouterr().out)["models"][0]
        command = [sys.executable, str(TOOL), "--pred", str(tmp_path / "lite" / "mattes"), "--json"]
        done = subprocess.run([*command, "--labels", str(faces / "labels")], capture_output=True, text=True, check=True)
        theirs = json.loads(done.stdout)
        for key in ("iou", "mean_iou", "precision", "recall", "boundary_f", "neck_leak"):
            assert ours[key] == pytest.approx(theirs[key], abs=2e-3), key
        assert ours["mad"] == pytest.approx(theirs["mad"], abs=1.5)  # theirs sees the matte in 256 levels

    def test_large_pictures_are_scored_as_large_as_they_are(self, tmp_path: Path, capsys: Any) -> None:
        for folder, picture in (("images", Image.new("RGB", (900, 450))), ("masks", Image.new("L", (900, 450)))):
            (tmp_path / folder).mkdir()
            picture.save(tmp_path / folder / "a.png")
        assert main(["evaluate", "lite", "--data", f"masks:{tmp_path}", "--out", str(tmp_path / "o"), "--json"]) == 0
        assert Image.open(tmp_path / "o" / "lite" / "mattes" / "a.png").size == (900, 450)

    def test_through_the_pipeline(self, faces: Path, tmp_path: Path, capsys: Any) -> None:
        (tmp_path / "names").write_text("1\n2\n")
        arguments = ["--names", str(tmp_path / "names"), "--pipeline", "--json", "--out", str(tmp_path / "o")]
        assert main(["evaluate", "lite", "--data", f"celebamask:{faces}", *arguments]) == 0
        told = json.loads(capsys.readouterr().out)["models"][0]
        assert told["n"] == 2
        assert told["iou"] > 0.6

    def test_a_part_that_only_some_sets_and_networks_know(self, faces: Path, tmp_path: Path, capsys: Any) -> None:
        """The shipped network under another name: its head, scored as the face, which is drawn smaller."""
        card = find_model("lite")
        shutil.copy(card.file, tmp_path / "f.onnx")
        (tmp_path / "f.json").write_text(json.dumps(card.details | {"file": "f.onnx", "outputs": ["face", "hair"]}))
        arguments = ["evaluate", str(tmp_path / "f.onnx"), "--part", "face", "--json", "--compare"]
        (tmp_path / "images").symlink_to(faces / "images")
        (tmp_path / "masks").mkdir()
        for label in (faces / "labels").iterdir():
            Image.fromarray((np.asarray(Image.open(label)) == 1).astype(np.uint8) * 255).save(
                tmp_path / "masks" / label.name
            )
        for data in (f"celebamask:{faces}", f"masks:{tmp_path}"):
            out = tmp_path / data.partition(":")[0]
            assert main([*arguments, "--data", data, "--out", str(out)]) == 0
            told = json.loads(capsys.readouterr().out)["models"][0]
            assert (told["part"], told["n"]) == ("face", 4)
            assert (out / "report.html").stat().st_size > 10_000
            assert told["iou"] > 0.5

    def test_a_file_where_the_folder_should_be(self, tmp_path: Path, capsys: Any) -> None:
        """Told before anything is looked for, so that the set need not be there."""
        (tmp_path / "f").touch()
        assert main(["evaluate", "lite", "--data", "masks:nowhere", "--out", str(tmp_path / "f")]) == 2
        assert "f: is a file" in capsys.readouterr().err

    def test_wrong_usage(self, faces: Path, tmp_path: Path, capsys: Any) -> None:
        def fails(words: str, *arguments: str) -> None:
            assert main(["evaluate", *arguments, "--out", str(tmp_path / "o")]) in {1, 2}
            error = capsys.readouterr().err
            assert re.search(words, error), error
            assert "Traceback" not in error

        (tmp_path / "names").write_text("7\n8\n")
        fails("expected KIND:FOLDER", "lite", "--data", str(faces))
        fails("kind 'nose' is not known", "lite", "--data", f"nose:{faces}")
        fails("'nothing' is not known", "nothing", "--data", f"celebamask:{faces}")
        fails("7 is not in .*nor 1 other", "lite", "--data", f"celebamask:{faces}", "--names", str(tmp_path / "names"))
        (tmp_path / "names").write_text("\n")
        fails("names no picture", "lite", "--data", f"celebamask:{faces}", "--names", str(tmp_path / "names"))
        fails("knows head, hair, not 'nose'", "lite", "--data", f"celebamask:{faces}", "--part", "nose")
        assert not (tmp_path / "o").exists()  # what is wrong is told before anything is written
        (tmp_path / "o" / "lite" / "curves.json").mkdir(parents=True)
        fails(r"curves\.json: is a folder; name a file", "lite", "--data", f"celebamask:{faces}")
        fails("kind pictures do not tell the head from all else", "lite", "--data", f"pictures:{faces}")
        fails("no folder masks/", "lite", "--data", f"masks:{faces}")
        fails("--part hiar: expected head, hair, face", "lite", "--data", f"celebamask:{faces}", "--part", "hiar")


def test_what_is_not_known_is_neither_right_nor_wrong(faces: Path, tmp_path: Path) -> None:
    """Of a street photo without a face box no skin is known; clothes are."""
    (tmp_path / "images").symlink_to(faces / "images")
    (tmp_path / "labels").mkdir()
    label: UInt8Array = np.zeros((200, 200), np.uint8)
    label[:50], label[50:100], label[100:150] = 1, 2, 3
    Image.fromarray(label).save(tmp_path / "labels" / "0.png")
    (tmp_path / "labels.txt").write_text("null hair skin shirt\n")
    data = DataSet("fullbody", tmp_path, names=("0",))
    above = (np.arange(200) < 100).astype(np.float32)[:, None].repeat(200, 1)  # hair and skin
    result = evaluate("m", lambda rgb: above, data, "head")
    (score,) = result.scores
    assert (score.tp, score.fp, score.fn, score.tn) == (10_000, 0, 0, 20_000)
    assert (score.neck_leak, result.counts.sum()) == (0.0, 30_000)
    assert evaluate("m", lambda rgb: above, data, "hair").scores[0].neck_leak is None


def test_a_matte_of_another_picture_is_told(tmp_path: Path) -> None:
    Image.new("L", (8, 4)).save(tmp_path / "a.png")
    assert read_matte(tmp_path, "a", (4, 8)).shape == (4, 8)
    with pytest.raises(ModelError, match="is not the matte of that picture"):
        read_matte(tmp_path, "a", (8, 4))


def test_the_log_is_that_beside_a_file_of_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in (tmp_path, tmp_path / "run"):
        folder.mkdir(exist_ok=True)
        (folder / "log.csv").touch()
    assert _log_of("run/best.pt") == Path("run/log.csv")
    assert _log_of("lite") is None  # by its name, from wherever that is


def test_what_is_wrong_is_red_or_blue_and_what_was_taken_green() -> None:
    rgb = np.full((1, 4, 3), 100, np.uint8)
    alpha, truth = np.array([[255, 0, 255, 255]], np.uint8), np.array([[0, 255, 0, 255]], np.uint8)
    much, little, unknown, right = error_map(rgb, alpha, truth, np.array([[255, 255, 0, 255]], np.uint8))[0].tolist()
    assert (much, little) == ([230, 60, 40], [40, 110, 240])
    assert unknown == right == [45, 45, 45]
    taken, left = overlaid(rgb, alpha)[0, :2].tolist()
    assert (taken, left) == ([79, 135, 107], [35, 35, 35])


def test_names_are_shown_on_the_page_and_never_run(faces: Path, tmp_path: Path) -> None:
    shutil.copytree(faces, tmp_path / "set")
    for path in (tmp_path / "set").glob("*/0.png"):
        path.rename(path.with_name("<i>0.png"))
    data = DataSet("celebamask", tmp_path / "set")
    results, folders = [], []
    for number, model in enumerate(("<b>one", "<b>two")):
        folders.append(tmp_path / str(number))
        results.append(evaluate(model, lambda rgb: np.ones(rgb.shape[:2], np.float32), data, "head", out=folders[-1]))
    write_report(results, data, folders, tmp_path / "r.html")
    text = (tmp_path / "r.html").read_text()
    tags = Page(text).tags
    assert not {"i", "b"} & set(tags)
    assert text.count("&lt;b&gt;one") > 3
    for score in results[0].scores:  # each picture with its own
        row = next(row for row in text.split("<tr>") if f'title="{score.name.replace("<i>", "&lt;i&gt;")}"' in row)
        assert re.findall(r"IoU ([\d.]+)", row) == [f"{score.iou:.3f}"] * 2


def test_each_model_has_a_folder_of_its_own_below_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "runs" / "unet" / "here").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "runs" / "unet" / "here")
    models = ["lite", "../best.pt", "..", ".", "owner/name@v1", "../../unet/last.pt", "...pt", "..pt", "/"]
    labels = ["lite", "unet", "unet-2", "here", "owner-name@v1", "unet-3", "model", "model-2", "model-3"]
    assert _labels(models) == labels


def test_skin_is_scored_where_the_face_is(faces: Path, tmp_path: Path) -> None:
    """Of street photos with their clothes labelled, the skin alone does not tell where the head ends."""
    (tmp_path / "images").symlink_to(faces / "images")
    (tmp_path / "labels").symlink_to(faces / "labels")
    (tmp_path / "labels.txt").write_text("\n".join(["null", "skin", *(f"shirt{k}" for k in range(11)), "hair"]) + "\n")
    (tmp_path / "names").write_text("1\n2\n")
    opened = _opened(EvaluationJob(("lite",), f"fullbody:{tmp_path}", tmp_path / "out", names=tmp_path / "names"))
    assert set(opened.faces) == set(opened.names) == {"1", "2"}
    picture = opened.load("1")
    assert ((picture.target[..., 0] & picture.known[..., 0]) > 0).sum() > 3000
    pytest.importorskip("torch")
    from headstream.train.config import DataConfig, TrainConfig
    from headstream.train.sets import open_data

    config = TrainConfig(data=(DataConfig("fullbody", tmp_path.name, validate="names"),))
    (validated,) = open_data(config, tmp_path.parent, tmp_path, tmp_path / "cache").validation
    assert (validated.load("1").known == picture.known).all()


def test_a_set_that_does_not_know_the_part(faces: Path) -> None:
    with pytest.raises(ModelError, match="does not know the head of any picture"):
        evaluate("m", lambda rgb: np.zeros(rgb.shape[:2], np.float32), DataSet("pictures", faces), "head")


def evaluation(ious: list[int]) -> Evaluation:
    """Pictures of 100 pixels of which so many are right."""
    result = Evaluation("m", "head")
    for number, right in enumerate(ious):
        truth = np.ones((10, 10), np.bool_)
        alpha = (np.arange(100).reshape(10, 10) < right).astype(np.float32)
        result.scores.append(score_picture(f"p{number}", alpha, truth))
    return result


@pytest.mark.parametrize(
    "text",
    [b"epoch,loss,val_loss\n0,0.5,0.6\n", b"step,loss\none,0.5\n", b"step,loss\n1,0.5 \xe9\n", b"step,loss\n1\n"],
)
def test_the_log_of_another_program_has_no_curve(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "log.csv").write_bytes(text)
    drawn = dict(charts([evaluation([90, 80])], [tmp_path / "log.csv"]))
    assert not drawn["Training loss"]
    (tmp_path / "log.csv").write_text("step,loss,head_iou\n1,0.5,0.7\n2,,0.8\n3,0.3,0.9\n")
    ours = dict(charts([evaluation([90, 80])], [tmp_path / "log.csv"]))
    assert ours["Training loss"]
    assert ours["Validation while training"]


def test_half_of_the_pictures_shown_are_the_hardest() -> None:
    chosen = choose([evaluation([90, 10, 80, 20, 95, 96, 97, 98])], 4)
    assert chosen[:2] == ["p1", "p3"]
    assert len(set(chosen)) == 4
    assert len(choose([evaluation([50, 60])], 10)) == 2
    assert [score.name for score in evaluation([90, 10, 80, 20]).worst(2)] == ["p1", "p3"]


def test_the_best_of_each_column() -> None:
    best = best_of([{"iou": 0.9, "mad": 5.0}, {"iou": 0.8, "mad": 4.0, "neck_leak": 0.1}])
    assert best == {"iou": 0.9, "mad": 4.0}


def test_a_perfect_0_is_the_best_and_an_unknown_one_is_not(faces: Path, tmp_path: Path) -> None:
    results = [evaluation([90]) for _ in range(3)]
    for result, leak, size in zip(results, (0.0, 0.02, 0.03), (0, 200, 300), strict=True):
        result.scores = [dataclasses.replace(score, neck_leak=leak) for score in result.scores]
        result.parameters = size
    best = best_of([result.summary for result in results])
    assert (best["neck_leak"], best["parameters"], "file_mb" in best) == (0.0, 200, False)
    write_report(results, DataSet("celebamask", faces), [], tmp_path / "r.html", pictures=0)
    marked = re.findall(r'class="best">([^<]+)<', (tmp_path / "r.html").read_text())
    assert ("0.0000" in marked, "0.0200" in marked, "200" in marked) == (True, False, True)


@pytest.mark.parametrize("width", [pytest.param(390, marks=in_a_browser)])
def test_the_page_is_no_wider_than_its_window(faces: Path, tmp_path: Path, width: int) -> None:
    write_report([evaluation([90])] * 2, DataSet("celebamask", faces), [], tmp_path / "r.html", pictures=0)
    with chromium(None) as browser:
        page = browser.new_page()
        page.set_viewport_size({"width": width, "height": 800})
        page.goto((tmp_path / "r.html").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") == width


class TestChart:
    def test_points_lie_where_they_should(self) -> None:
        svg = chart([Series("a<b", ((0.0, 0.0), (10.0, 1.0), (5.0, 0.5)))], x="x", y="y")
        places = [tuple(map(float, p.split(","))) for p in re.findall(r'points="([^"]+)"', svg)[0].split()]
        assert places[0][0] < places[2][0] < places[1][0]
        assert places[0][1] > places[2][1] > places[1][1]
        assert places[2][0] == pytest.approx((places[0][0] + places[1][0]) / 2, abs=0.1)
        assert "a&lt;b" in svg

    def test_nothing_to_draw_and_one_point(self) -> None:
        assert chart([Series("a", ())], x="x", y="y") == ""
        assert chart([Series("a", ((float("nan"), 1.0),))], x="x", y="y") == ""
        assert "<circle" in chart([Series("a", ((3.0, 0.9),), line=False)], x="x", y="y", log_x=True)

    def test_names_lie_neither_on_each_other_nor_beyond_the_edge(self) -> None:
        points = {
            "lite": (40.0, 0.90),
            "lite-int8": (20.0, 0.901),
            "lite-photo-int8": (21.0, 0.901),
            "a name that is nearly as long as the chart is wide": (30.0, 0.895),
            "unet34-of-the-long-night": (150.0, 0.91),
            "best": (152.0, 0.91),
            "deeplabv3": (149.0, 0.9095),
            "x" * 80: (9.0, 0.88),  # finds no room
        }
        svg = chart([Series(name, (at,), line=False) for name, at in points.items()], x="x", y="y", log_x=True)
        boxes, named = [], set()
        for x, y, anchor, name in re.findall(r'<text x="([^"]+)" y="([^"]+)" text-anchor="([^"]+)">([^<]+)<', svg):
            if name in points:
                width = 6.5 * len(name)
                left = float(x) - (width if anchor == "end" else 0)
                boxes.append((left, float(y), left + width))
                named.add(name)
        assert named == set(points) - {"x" * 80}
        assert all(left >= 0 and right <= WIDTH for left, _, right in boxes)
        for k, (left, y, right) in enumerate(boxes):
            assert not any(left < end and start < right and abs(y - base) < 11 for start, base, end in boxes[:k])
        assert svg.count("<circle") == len(points)
