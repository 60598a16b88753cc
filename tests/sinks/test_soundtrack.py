"""The sound of live recordings: in time with the pictures, whatever comes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest

from headstream.errors import SinkError, UsageError
from headstream.shared.sound import Sound
from headstream.sinks.behind import FixedPicture
from headstream.sinks.encode import ClipInfo
from headstream.sinks.formats import output_format
from headstream.sinks.take import TakeSink
from headstream.types import Cutout, Frame
from tests.media import frame_times, probe

FILMS = [".mov", ".mp4", ".mkv", ".webm"]
ORIGIN_S = 1000.0  # the pictures' second 0, on the clock of captures
CODECS = {".mov": "pcm_s16le", ".mp4": "aac", ".mkv": "flac", ".webm": "opus"}


def clicks(begin_s: float, samples: int = 480, rate: int = 44100, layout: str = "mono", kind: str = "s16") -> Any:
    """A hum, with a click at every whole second."""
    index = np.arange(samples) + round(begin_s * rate)
    wave = 4000 * np.sin(2 * np.pi * 440 * index / rate)
    wave[index % rate < 20] = 30000
    frame = av.AudioFrame(kind, layout, samples)
    frame.sample_rate = rate
    packed = np.repeat(wave, frame.layout.nb_channels)
    made = packed.astype(np.int16) if kind == "s16" else (packed / 32768).astype(np.float32)
    frame.planes[0].update(made.tobytes().ljust(frame.planes[0].buffer_size, b"\0"))
    return frame


def heard(begin_s: float, end_s: float, *, ppm: float = 0, **kind: Any) -> Iterator[Sound]:
    """What a microphone hears whose clock is fast by so many millionths."""
    length_s, count = 480 / kind.get("rate", 44100), 0
    while (at_s := begin_s + count * length_s) < end_s:
        yield Sound(clicks(at_s, **kind), ORIGIN_S + begin_s + (at_s - begin_s) / (1 + ppm / 1e6))
        count += 1


def picture(index: int) -> Cutout:
    frame = Frame(np.full((48, 64, 3), 200, np.uint8))
    return Cutout(frame.timed(index=index, pts=Fraction(index, 25), captured_s=ORIGIN_S + index / 25))


def begun(path: Path, layout: str = "mono", **more: Any) -> TakeSink:
    opaque = path.suffix == ".mp4"
    behind = FixedPicture(np.zeros((1, 1, 3), np.uint8)) if opaque else None
    kind, clip = output_format(path, transparent=not opaque), ClipInfo((64, 48), Fraction(25))
    return TakeSink(path, kind, clip, background=behind, sound=layout, **more)


def show(sink: TakeSink, count: int, sounds: list[Sound], late_s: float = 0.0) -> list[Sound]:
    """The first pictures, with what is heard until each is written; returns what is heard later."""
    for index in range(count):
        while sounds and sounds[0].end_s < ORIGIN_S + index / 25 + late_s:
            sink.hear(sounds.pop(0))
        sink.write(picture(index))
    return sounds


def record(
    path: Path, sounds: Iterator[Sound], *, seconds: float = 3, layout: str = "mono", late_s: float = 0.1
) -> None:
    """Pictures and sounds as they come: sound at once, pictures when they are cut."""
    sink = begun(path, layout)
    show(sink, round(25 * seconds), list(sounds), late_s)
    sink.close()
    assert sink.kept


def samples(path: Path, rate: int = 44100) -> Any:
    """The decoded sound, from second 0 of the film, mono."""
    with av.open(str(path)) as film:
        turned = av.AudioResampler("s16", "mono", rate)
        frames = [made for frame in film.decode(audio=0) for made in turned.resample(frame)] + turned.resample(None)
    return np.concatenate([frame.to_ndarray()[0] for frame in frames])


def clicks_in(wave: Any, rate: int = 44100) -> Any:
    """The seconds of clicks."""
    loud = np.flatnonzero(wave > 15000)
    return loud[np.insert(np.diff(loud) > rate // 10, 0, values=True)] / rate if len(loud) else loud


def at_whole_seconds(wave: Any, count: int) -> bool:
    """Whether there is a click at each second but the first and the last, and none elsewhere."""
    inner = [at_s for at_s in clicks_in(wave) if 0.5 < at_s < count - 0.5]
    return inner == pytest.approx(list(range(1, count)), abs=0.004)


def silent_s(wave: Any, rate: int = 44100) -> float:
    pieces = wave[: len(wave) // 441 * 441].reshape(-1, 441)
    return float((np.abs(pieces).max(1) < 30).sum() * 441 / rate)


@pytest.mark.parametrize("suffix", FILMS)
def test_sound_goes_with_the_pictures(tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"o{suffix}"
    record(out, heard(-1, 4))
    video, audio = probe(out)["streams"]
    assert (video["codec_type"], audio["codec_name"], audio["channels"]) == ("video", CODECS[suffix], 1)
    assert float(probe(out)["format"]["duration"]) == pytest.approx(3.0, abs=0.03)
    wave = samples(out)
    assert len(wave) / 44100 == pytest.approx(3.0, abs=0.03)
    assert at_whole_seconds(wave, 3)
    assert silent_s(wave) < 0.03
    assert list(tmp_path.iterdir()) == [out]


def test_stereo_stays_stereo_and_other_rates_and_more_channels_are_turned(tmp_path: Path) -> None:
    record(tmp_path / "a.mov", heard(0, 4, rate=16000, layout="stereo"), layout="stereo")
    assert probe(tmp_path / "a.mov")["streams"][1]["channels"] == 2
    assert at_whole_seconds(samples(tmp_path / "a.mov"), 3)
    record(tmp_path / "b.mov", heard(0, 4, rate=48000, layout="5.1", kind="flt"), layout="stereo")
    assert probe(tmp_path / "b.mov")["streams"][1]["channels"] == 2
    assert at_whole_seconds(samples(tmp_path / "b.mov"), 3)


def test_where_nothing_was_heard_there_is_silence(tmp_path: Path) -> None:
    def sounds() -> Iterator[Sound]:
        yield from heard(0.3, 0.9)
        yield from heard(1.9, 2.5, rate=48000)  # come back as another

    record(tmp_path / "o.mov", sounds())
    wave = samples(tmp_path / "o.mov")
    assert len(wave) == 3 * 44100
    assert clicks_in(wave) == pytest.approx([2.0], abs=0.002)
    assert silent_s(wave) == pytest.approx(1.8, abs=0.05)
    record(tmp_path / "none.mov", iter(()))
    assert silent_s(samples(tmp_path / "none.mov")) == pytest.approx(3.0)


@pytest.mark.parametrize("ppm", [-500, 500])
def test_a_clock_that_goes_wrong_is_followed(tmp_path: Path, ppm: float) -> None:
    """By 15 ms in 30 s, and no more is there at the end than at the start."""
    record(tmp_path / "o.mov", heard(0, 31, ppm=ppm), seconds=30)
    times = clicks_in(samples(tmp_path / "o.mov"))
    true = np.arange(1, 30) / (1 + ppm / 1e6)
    assert times[1:30] == pytest.approx(true, abs=0.003)


@pytest.mark.parametrize("off_s", [0.04, 0.2])
def test_sound_that_comes_earlier_from_some_time_on_ends_with_the_pictures(tmp_path: Path, off_s: float) -> None:
    def sounds() -> Iterator[Sound]:
        yield from heard(0, 1.2)
        for sound in heard(1.2, 4):
            yield Sound(sound.frame, sound.captured_s - off_s)

    record(tmp_path / "o.mov", sounds())
    wave = samples(tmp_path / "o.mov")
    assert 3 <= len(wave) / 44100 < 3.05
    late = float(clicks_in(wave)[2]) - (2 - off_s)
    assert abs(late) < 0.051


def test_sound_that_nobody_can_turn_costs_itself_alone(tmp_path: Path) -> None:
    def sounds() -> Iterator[Sound]:
        yield from heard(0, 1.2)
        yield from heard(1.2, 1.6, layout="9 channels")  # and nothing tells which is which
        yield from heard(1.6, 4)

    record(tmp_path / "o.mov", sounds())
    wave = samples(tmp_path / "o.mov")
    assert len(wave) == 3 * 44100
    assert at_whole_seconds(wave, 3)
    assert silent_s(wave) == pytest.approx(0.4, abs=0.05)


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".apng", ""])
def test_what_has_no_place_for_sound_is_refused(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(UsageError, match="no place for sound"):
        begun(tmp_path / f"o{suffix}")
    assert not list(tmp_path.iterdir())


def test_while_no_picture_comes_sound_does_not_pile_up(tmp_path: Path) -> None:
    sink = begun(tmp_path / "o.mov")
    track: Any = sink._track
    most = 0.0
    for index in range(10):
        sink.write(picture(index))
    for sound in heard(0, 60):
        sink.hear(sound)
        most = max(most, track.waits_s)
    assert 1 < most < 3.1
    for index in range(60 * 25, 61 * 25):
        sink.write(picture(index))
    sink.close()
    wave = samples(tmp_path / "o.mov")
    assert len(wave) == 61 * 44100
    assert at_whole_seconds(wave, 60)


def test_a_long_silence_is_not_held_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream that was away; of an hour of it, that was a gigabyte."""
    sink, sizes = begun(tmp_path / "o.mov"), list[int]()
    mux = sink._take._mux_sound

    def counted(packets: Iterable[Any]) -> None:
        held = list(packets)
        sizes.append(sum(packet.size for packet in held))
        mux(held)

    monkeypatch.setattr(sink._take, "_mux_sound", counted)
    show(sink, 10, list(heard(0, 0.4)))
    for index in range(250 * 25, 251 * 25):
        sink.write(picture(index))
    sink.close()
    assert sum(sizes) == 251 * 48000 * 2
    assert max(sizes) < sum(sizes) / 10


@pytest.mark.parametrize("suffix", FILMS)
def test_the_last_picture_is_held_for_what_was_heard_after_it(tmp_path: Path, suffix: str) -> None:
    """The camera is lost, and does not come back before the end."""
    sink = begun(tmp_path / f"o{suffix}")
    for sound in show(sink, 50, list(heard(0, 10))):
        sink.hear(sound)
    sink.close()
    wave = samples(tmp_path / f"o{suffix}")
    assert len(wave) / 44100 == pytest.approx(10, abs=0.05)
    assert at_whole_seconds(wave, 10)
    times = frame_times(tmp_path / f"o{suffix}")
    assert len(times) == 51
    assert times[-1] == pytest.approx(10 - 0.04, abs=0.02)
    assert float(probe(tmp_path / f"o{suffix}")["format"]["duration"]) == pytest.approx(10, abs=0.05)


def test_sound_that_comes_late_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a sender that sends its pictures ahead."""
    now_s = [0.0]
    monkeypatch.setattr("headstream.sinks.soundtrack.time", SimpleNamespace(perf_counter=lambda: now_s[0]))
    sink, sounds = begun(tmp_path / "o.mov"), list(heard(0, 8))
    for index in range(200):
        now_s[0] = ORIGIN_S + index / 25
        while sounds[0].end_s < now_s[0] - 2:
            sink.hear(sounds.pop(0))
        sink.write(picture(index))
    sink.close()
    wave = samples(tmp_path / "o.mov")
    assert at_whole_seconds(wave[: 6 * 44100], 6)
    assert silent_s(wave) == pytest.approx(2, abs=0.1)  # what has not come by the end


def test_a_piece_that_seems_to_come_from_the_future_stands_in_nobodys_way(tmp_path: Path) -> None:
    def sounds() -> Iterator[Sound]:
        yield from heard(0, 1.2)
        yield Sound(clicks(0), ORIGIN_S + 1.2 + 1.9)
        yield from heard(1.21, 4)

    sink, waiting = begun(tmp_path / "o.mov"), list(sounds())
    for index in range(75):
        while waiting and (
            waiting[0].end_s < ORIGIN_S + index / 25 + 0.1 or waiting[0].captured_s == ORIGIN_S + 1.2 + 1.9
        ):
            sink.hear(waiting.pop(0))
        sink.write(picture(index))
    sink.close()
    wave = samples(tmp_path / "o.mov")
    assert at_whole_seconds(wave, 3)
    assert silent_s(wave) < 0.05


def test_before_the_first_picture_little_is_kept(tmp_path: Path) -> None:
    sink = begun(tmp_path / "o.mov")
    track: Any = sink._track
    for sound in heard(-30, 0):
        sink.hear(sound)
    assert track.waits_s < 3.1
    sink.close()
    assert not sink.kept


def test_what_fails_while_no_picture_comes_is_told_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def told_by(end: Callable[[TakeSink], object], name: str) -> str:
        sink = begun(tmp_path / name)
        sounds = show(sink, 50, list(heard(0, 30)))
        with monkeypatch.context() as patch:
            patch.setattr(sink._take, "_mux_sound", lambda packets: (_ for _ in ()).throw(OSError(28, "No space left")))
            for sound in sounds:
                sink.hear(sound)
        with pytest.raises(SinkError, match="the disk is full") as raised:
            end(sink)
        sink.hear(sound)
        sink.close()
        assert (tmp_path / name).exists()
        return str(raised.value)

    assert "are kept in" in told_by(lambda sink: sink.close(), "a.mov")
    assert "are kept in" in told_by(lambda sink: sink.write(picture(750)), "b.mov")


@pytest.mark.parametrize("suffix", FILMS)
def test_one_that_is_killed_plays_as_far_as_it_goes_with_its_sound(tmp_path: Path, suffix: str) -> None:
    sink = begun(tmp_path / f"o{suffix}")
    show(sink, 125, list(heard(0, 6)))
    left = tmp_path / f"left{suffix}"
    left.write_bytes((tmp_path / f"o.recording{suffix}").read_bytes())
    with av.open(str(left)) as film:
        shown = [float(frame.time or 0) for frame in film.decode(video=0)]
    assert shown[-1] > 3.5
    wave = samples(left)
    assert len(wave) / 44100 > 3.4
    assert clicks_in(wave)[-1] == pytest.approx(round(clicks_in(wave)[-1]), abs=0.003)
    sink.close()


@pytest.mark.parametrize("suffix", [".mov", ".mkv"])
def test_a_microphone_that_hears_nothing_holds_no_picture_back(tmp_path: Path, suffix: str) -> None:
    sink = begun(tmp_path / f"o{suffix}", may_wait=False)
    for index in range(75):
        sink.write(picture(index))
    left = tmp_path / f"left{suffix}"
    left.write_bytes((tmp_path / f"o.recording{suffix}").read_bytes())
    with av.open(str(left)) as film:
        assert [float(frame.time or 0) for frame in film.decode(video=0)][-1] > 1.5
    sink.close()


def test_how_late_sound_comes_is_known_while_it_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = [0.0]
    monkeypatch.setattr("headstream.sinks.soundtrack.time", SimpleNamespace(perf_counter=lambda: now_s[0]))
    sink = begun(tmp_path / "o.mov")
    assert sink.late_s == 0
    for sound in heard(0, 1):
        now_s[0] = sound.end_s + 2
        sink.hear(sound)
    assert sink.late_s == pytest.approx(2)
    for sound in heard(1, 20):
        now_s[0] = sound.end_s + 0.1
        sink.hear(sound)
    assert sink.late_s == pytest.approx(0.1)
    now_s[0] = 1e6
    sink.hear(next(heard(20, 21)))
    assert sink.late_s == 5
    sink.close()
    assert sink.late_s == 0


def test_from_any_thread_and_after_its_end(tmp_path: Path) -> None:
    sink, stop = begun(tmp_path / "o.mov"), threading.Event()

    def hearing() -> None:
        for sound in heard(0, 1e9):
            if stop.is_set():
                return
            sink.hear(sound)

    threads = [threading.Thread(target=hearing)]
    threads[0].start()
    for index in range(100):
        sink.write(picture(index))
    sink.close()
    stop.set()
    threads[0].join()
    wave = samples(tmp_path / "o.mov")
    assert len(wave) >= 4 * 44100
