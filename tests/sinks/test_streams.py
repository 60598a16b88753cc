"""Sound that is transcoded: where it plays, whatever its source's times are like."""

from __future__ import annotations

import re
import struct
import subprocess
from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from headstream.sinks.film_segments import FilmSegments
from headstream.sinks.formats import film_format, output_format
from headstream.sinks.routes import Sound, Text
from headstream.sinks.streams import StreamCarrier
from headstream.sinks.video import ClipInfo, VideoSink
from headstream.types import Cutout, Float32Array, Frame
from tests.media import needs_ffmpeg, pattern, probe, sound_nobody_knows

RATE = 48000
UNTOLD = "left out, it cannot be read: it is empty, begins late or has a damaged header"
PIECE = 960  # samples of a packet, 20 ms


def times(*spans_s: tuple[float, float]) -> list[int]:
    """Ticks of packets that fill some spans of seconds."""
    return [tick for a, b in spans_s for tick in range(round(a * RATE), round(b * RATE), PIECE)]


def sound_file(path: Path, ticks: Iterable[int], codec: str = "pcm_s16le") -> Path:
    """A tone in packets at these ticks of 1/48000 s, beside a picture at 0."""
    wave = (0.3 * np.sin(2 * np.pi * 500 * np.arange(PIECE) / RATE) * 32767).astype(np.int16)
    with av.open(str(path), "w") as container:
        picture = container.add_stream("libx264", rate=25, width=64, height=48)
        picture.pix_fmt = "yuv420p"
        sound = container.add_stream(codec, rate=RATE, layout="mono")
        sound.codec_context.time_base = Fraction(1, RATE)
        container.mux(picture.encode(av.VideoFrame.from_ndarray(pattern(64, 48, 0), format="rgb24")))
        container.mux(picture.encode(None))
        for tick in ticks:
            samples = wave if codec == "pcm_s16le" else (wave // 256 + 128).astype(np.uint8)
            frame = av.AudioFrame.from_ndarray(samples[None], format=codec[4:7].rstrip("l"), layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = RATE, tick, Fraction(1, RATE)
            container.mux(sound.encode(frame))
    return path


def carried(
    source: Path, out: Path, *, spoil: Callable[[Any], None] = lambda packet: None, notes: list[str] | None = None
) -> Path:
    """The source's sound alone in another container. spoil: is shown each packet on its way to the decoder.  notes: gets what
    is told."""
    with av.open(str(out), "w", options={"fflags": "+bitexact"}) as container:
        carrier = StreamCarrier(source, container, kinds=frozenset({"audio"}))
        (route,) = carrier._routes.values()
        convert = route.convert

        def spoiled(packet: Any, start_s: Fraction) -> Any:
            spoil(packet)
            return convert(packet, start_s)

        route.convert = spoiled  # type: ignore[method-assign]
        for second in range(1, 4):
            carrier.advance(Fraction(second))
        carrier.finish()
        carrier.close()
        if notes is not None:
            notes += carrier.notes
    return out


def loudness(path: Path) -> Float32Array:
    """(N,): mean of each 20 ms, where players that heed no times play it."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        step = stream.codec_context.sample_rate // 50
        mono = av.AudioResampler("fltp", "mono", stream.codec_context.sample_rate)
        pieces = [piece for frame in container.decode(stream) for piece in mono.resample(frame)]
        samples = np.concatenate([piece.to_ndarray()[0] for piece in pieces])
    whole = samples[: len(samples) // step * step].astype(np.float32).reshape(-1, step)
    return np.sqrt((whole**2).mean(1))


@pytest.mark.parametrize("name", ["o.webm", "o.mp4"])
@pytest.mark.parametrize("codec", ["pcm_s16le", "pcm_u8"])
def test_a_gap_stays_one(tmp_path: Path, name: str, codec: str) -> None:
    source = sound_file(tmp_path / "s.mkv", times((0, 2), (7, 9)), codec)
    out = carried(source, tmp_path / name)
    loud = loudness(out) > 0.1
    assert len(loud) == pytest.approx(450, abs=3)
    assert loud[2:98].all()
    assert not loud[104:346].any()
    assert loud[354:446].all()
    with av.open(str(out)) as container:
        ticks = [packet.pts for packet in container.demux(audio=0) if packet.pts is not None]
        assert float(ticks[-1] * container.streams.audio[0].time_base) == pytest.approx(8.98, abs=0.05)


@pytest.mark.parametrize("late_s", [600, 3600])
def test_sound_that_goes_on_long_after_the_picture_comes_without_the_gap(tmp_path: Path, late_s: int) -> None:
    """What such a film says of its own length is as wrong."""
    ticks = times((0, 1), (late_s, late_s + 1))
    notes: list[str] = []
    loud = loudness(carried(sound_file(tmp_path / "s.mkv", ticks), tmp_path / "o.webm", notes=notes)) > 0.1
    assert len(loud) == pytest.approx(100, abs=3)
    assert loud[2:98].all()
    assert notes[-1] == f"audio 1: {late_s - 1} s without sound after the picture's end left out"


@pytest.mark.parametrize(
    ("ticks", "why"),
    [
        ([t + 1400 * (k % 2) for k, t in enumerate(times((0, 2)))], "a clock that is rounded to 30 ms"),
        ([t - 48000 * (t >= 48000) for t in times((0, 2))], "a clock that falls back by a second"),
        ([t + 48000 * 7200 * (t == 48000) for t in times((0, 2))], "one wild time"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_gap_changes_no_byte(tmp_path: Path, ticks: list[int], why: str) -> None:
    even = carried(sound_file(tmp_path / "even.mkv", times((0, 2))), tmp_path / "even.webm")
    told = iter(ticks)

    def spoil(packet: Any) -> None:
        packet.pts = round(next(told) / RATE / packet.time_base) if packet.size else packet.pts

    spoilt = carried(tmp_path / "even.mkv", tmp_path / "spoilt.webm", spoil=spoil)
    assert spoilt.read_bytes() == even.read_bytes(), why


def test_damaged_packets_cost_their_own_sound_alone(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "s.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=RATE, layout="mono")
        for k in range(200):
            noise = np.random.default_rng(k).normal(0, 0.1, (1, 1024)).astype(np.float32)
            frame = av.AudioFrame.from_ndarray(noise, format="fltp", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = RATE, 1024 * k, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    whole = carried(tmp_path / "s.mp4", tmp_path / "whole.webm")
    number = iter(range(1000))

    def spoil(packet: Any) -> None:
        if 40 <= next(number) < 100:
            packet.update(b"\xff" * packet.size)

    damaged = carried(tmp_path / "s.mp4", tmp_path / "damaged.webm", spoil=spoil)
    assert abs(len(loudness(damaged)) - len(loudness(whole))) <= 3


@pytest.mark.parametrize(("codec", "becomes"), [("flac", "alac"), ("libopus", "aac")])
def test_quicktime_gets_sound_it_knows(tmp_path: Path, codec: str, becomes: str) -> None:
    """FFmpeg's table for .mov names these two, and its muxer then refuses them."""
    with av.open(str(tmp_path / "s.mkv"), "w") as container:
        stream = container.add_stream(codec, rate=RATE, layout="mono")
        for k in range(50):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, PIECE), np.int16), format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = RATE, PIECE * k, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with av.open(str(carried(tmp_path / "s.mkv", tmp_path / "o.mov"))) as container:
        assert container.streams.audio[0].codec_context.name == becomes


def tones(path: Path, codec: str, layout: str, *, rate: int = RATE, first_s: int = 0) -> Path:
    """Two seconds of a tone in any layout, from second ``first_s`` on."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, layout=layout, options={"strict": "-2"})  # for Vorbis
        channels, size = stream.codec_context.layout.nb_channels, 1152
        for k in range(2 * rate // size):
            wave = 0.3 * np.sin(2 * np.pi * 500 * np.arange(k * size, (k + 1) * size) / rate) * 32767
            samples = np.repeat(wave.astype(np.int16), channels)[None]
            frame = av.AudioFrame.from_ndarray(samples, format="s16", layout=layout)
            frame.sample_rate, frame.pts, frame.time_base = rate, first_s * rate + k * size, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("layout", "name", "becomes"),
    [
        ("5.1(side)", "o.webm", "5.1"),
        ("5.1(side)", "o.mov", "5.1"),
        ("quad", "o.mov", "4.0"),
        ("7.1", "o.webm", "7.1"),
        ("7.1", "o.mov", "7.1(wide)"),
        ("2.1", "o.webm", "5.1"),
        ("3.1", "o.mov", "5.1"),
        ("3.0", "o.webm", "3.0"),
    ],
)
def test_loudspeakers_an_encoder_does_not_know(tmp_path: Path, layout: str, name: str, becomes: str) -> None:
    out = carried(tones(tmp_path / "s.mkv", "flac", layout), tmp_path / name)
    with av.open(str(out)) as container:
        assert container.streams.audio[0].codec_context.layout.name == becomes
    assert (loudness(out)[2:98] > 0.05).all()


@pytest.mark.parametrize("silent", ["SL", "BL", "BR"])
def test_loudspeakers_in_an_order_of_their_own(tmp_path: Path, silent: str) -> None:
    """As Apple's 7.1 in a .mov. PyAV's account of it is of memory it freed: that ends the process, if not at once."""
    stored = ["FL", "FR", "FC", "LFE", "SL", "SR", "BL", "BR"]
    wave = 9000 * np.sin(2 * np.pi * 500 * np.arange(RATE) / RATE)
    samples = np.stack([wave * (name not in {silent, "LFE"}) for name in stored], axis=-1).astype(np.int16)
    with av.open(str(tmp_path / "s.mov"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=RATE, layout="7.1")
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout="7.1")
        frame.sample_rate = RATE
        container.mux(stream.encode(frame))
    file = (tmp_path / "s.mov").read_bytes()
    by_mask, by_name = (
        struct.pack(">4sIII", b"chan", 0, 1 << 16, 0x63F),
        struct.pack(">4sIII", b"chan", 0, 128 << 16 | 8, 0),
    )
    assert file.count(by_mask) == 1
    (tmp_path / "s.mov").write_bytes(file.replace(by_mask, by_name))  # kAudioChannelLayoutTag_MPEG_7_1_C
    with av.open(str(carried(tmp_path / "s.mov", tmp_path / "o.webm"))) as container:
        stream = container.streams.audio[0]
        names = [channel.name for channel in stream.codec_context.layout.channels]
        flat = av.AudioResampler("flt", "7.1", RATE)
        pieces = [piece for frame in container.decode(stream) for piece in flat.resample(frame)]
        heard = np.concatenate([piece.to_ndarray().reshape(-1, 8) for piece in pieces])[RATE // 4 : -RATE // 4]
    loud = np.sqrt((heard**2).mean(0)) > 0.05
    assert {name for name, is_loud in zip(names, loud, strict=True) if not is_loud} == {silent, "LFE"}


@pytest.mark.parametrize(("layout", "kilobits"), [("mono", 80), ("stereo", 160), ("5.1", 480)])
def test_bits_for_each_channel(tmp_path: Path, layout: str, kilobits: int) -> None:
    with (
        av.open(str(tones(tmp_path / "s.mkv", "flac", layout))) as source,
        av.open(str(tmp_path / "o.webm"), "w") as out,
    ):
        route = Sound(source.streams.audio[0], out, "libopus", Fraction)
        assert route.out.codec_context.bit_rate == 1000 * kilobits


@pytest.mark.parametrize(("name", "codec"), [("o.mov", "aac"), ("o.mov", "flac"), ("o.webm", "aac"), ("o.mp4", "aac")])
@pytest.mark.parametrize(("language", "in_quicktime"), [("deu", "ger"), ("ger", "ger"), ("eng", "eng"), ("fre", "fra")])
def test_languages_are_kept(tmp_path: Path, name: str, codec: str, language: str, in_quicktime: str) -> None:
    with av.open(str(tmp_path / "s.mkv"), "w") as container:
        stream = container.add_stream(codec, rate=RATE, layout="mono")
        stream.metadata["language"] = language
        kind = "fltp" if codec == "aac" else "s16"
        samples = np.zeros((1, 1024), np.float32 if codec == "aac" else np.int16)
        frame = av.AudioFrame.from_ndarray(samples, format=kind, layout="mono")
        frame.sample_rate = RATE
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with av.open(str(carried(tmp_path / "s.mkv", tmp_path / name))) as out:
        assert out.streams[0].metadata["language"] == (in_quicktime if name == "o.mov" else language)


def test_a_sampling_rate_an_encoder_does_not_know(tmp_path: Path) -> None:
    source = tones(tmp_path / "s.wav", "adpcm_ms", "mono", rate=22254)
    with av.open(str(carried(source, tmp_path / "o.mov"))) as container:
        assert container.streams.audio[0].codec_context.sample_rate == 24000


@pytest.mark.parametrize(("layout", "rate"), [("mono", 48000), ("stereo", 32000)])
def test_sound_that_changes_on_the_way(tmp_path: Path, layout: str, rate: int) -> None:
    first = tones(tmp_path / "a.ts", "mp2", "stereo")
    second = tones(tmp_path / "b.ts", "mp2", layout, rate=rate, first_s=2)
    (tmp_path / "s.ts").write_bytes(first.read_bytes() + second.read_bytes())
    loud = loudness(carried(tmp_path / "s.ts", tmp_path / "o.webm")) > 0.1
    assert len(loud) == pytest.approx(200, abs=6)
    assert loud[4:-6].mean() > 0.97


def test_times_that_fall_together_in_the_outputs_ticks(tmp_path: Path) -> None:
    """Half of the packets come 90 us after another: two ticks of a TS, one or none of most others."""
    source = tones(tmp_path / "s.mkv", "mp2", "mono")
    number = iter(range(1000))

    def spoil(packet: Any) -> None:
        packet.time_base = Fraction(1, 90000)
        packet.pts = packet.dts = next(number)

    with av.open(str(carried(source, tmp_path / "o.mov", spoil=spoil))) as container:
        ticks = [packet.dts for packet in container.demux(audio=0) if packet.size]
    assert len(ticks) == 83
    assert (np.diff(ticks) > 0).all()


@pytest.mark.parametrize(("name", "kept"), [("o.mov", 0), ("o.mp4", 0), ("o.webm", 0), ("o.mkv", 1)])
def test_fonts_go_where_there_is_a_place_for_them(tmp_path: Path, name: str, kept: int) -> None:
    with av.open(str(tmp_path / "s.mkv"), "w") as container:
        picture = container.add_stream("libx264", rate=25, width=64, height=48)
        picture.pix_fmt = "yuv420p"
        container.add_attachment("a.ttf", "application/x-truetype-font", b"not quite a font")
        container.mux(picture.encode(av.VideoFrame.from_ndarray(pattern(64, 48, 0), format="rgb24")))
        container.mux(picture.encode(None))
    with av.open(str(tmp_path / name), "w") as out:
        picture = out.add_stream("libvpx-vp9" if name == "o.webm" else "libx264", rate=25, width=64, height=48)
        picture.pix_fmt = "yuv420p"
        carrier = StreamCarrier(tmp_path / "s.mkv", out)
        out.mux(picture.encode(av.VideoFrame.from_ndarray(pattern(64, 48, 0), format="rgb24")))
        out.mux(picture.encode(None))
        carrier.finish()
        carrier.close()
    with av.open(str(tmp_path / name)) as container:
        assert len(container.streams.attachments) == kept
    assert any("left out" in note for note in carrier.notes) == (not kept)


@pytest.mark.parametrize(
    ("codec", "becomes"),
    [("pcm_mulaw", "pcm_s16le"), ("pcm_alaw", "pcm_s16le"), ("pcm_f32be", "pcm_f32le")],
)
def test_matroska_gets_pcm_it_does_not_take_without_loss(tmp_path: Path, codec: str, becomes: str) -> None:
    source = tones(tmp_path / "s.mov", codec, "stereo", rate=8000)
    out = carried(source, tmp_path / "o.mkv")
    sounds = []
    for path in (source, out):
        with av.open(str(path)) as container:
            frames = [
                piece for frame in container.decode(audio=0) for piece in av.AudioResampler("dbl").resample(frame)
            ]
            sounds.append(np.concatenate([frame.to_ndarray().ravel() for frame in frames]))
    with av.open(str(out)) as container:
        assert container.streams.audio[0].codec_context.name == becomes
    assert (sounds[0] == sounds[1]).all()


@pytest.mark.parametrize("name", ["o.mov", "o.mkv", "o.mp4", "o.webm"])
def test_sound_of_an_unknown_codec_is_left_out_and_told(tmp_path: Path, name: str) -> None:
    source = sound_nobody_knows(tmp_path / "s.mp4", known=1)
    with av.open(str(tmp_path / name), "w") as container:
        carrier = StreamCarrier(source, container)
        carrier.finish()
        carrier.close()
    assert [note for note in carrier.notes if "left out" in note and note.startswith("audio 1: ")] == carrier.notes[1:]
    assert len(carrier.notes) == 2
    (sound,) = probe(tmp_path / name)["streams"]
    assert float(sound.get("duration") or probe(tmp_path / name)["format"]["duration"]) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("name", ["o.mov", "o.mkv", "o.mp4", "o.webm"])
@pytest.mark.parametrize(("codec", "told"), [("vorbis", False), ("alac", False), ("flac", True)])
def test_sound_without_its_header_does_not_cost_the_film(tmp_path: Path, name: str, codec: str, told: bool) -> None:
    """told: whether its packets tell enough to be decoded."""
    source = tones(tmp_path / "s.mkv", codec, "stereo")
    data = source.read_bytes()
    at = data.index(b"\x63\xa2", data.index(b"A_"))  # where the private data of a codec begins
    source.write_bytes(data[:at] + b"\x63\xa3" + data[at + 2 :])
    with av.open(str(tmp_path / name), "w") as container:
        carrier = StreamCarrier(source, container)
        carrier.finish()
        carrier.close()
    (note,) = carrier.notes
    assert note.endswith("its header is missing") if told else note == f"audio 0: {codec} {UNTOLD}"
    assert not told or [stream["codec_type"] for stream in probe(tmp_path / name)["streams"]] == ["audio"]


@pytest.mark.parametrize("name", ["o.mov", "o.mkv", "o.mp4", "o.webm"])
def test_sound_that_is_announced_and_never_comes_does_not_cost_the_film(tmp_path: Path, name: str) -> None:
    source = tmp_path / "s.ts"
    with av.open(str(source), "w") as container:
        picture = container.add_stream("libx264", rate=25, width=64, height=48)
        picture.pix_fmt = "yuv420p"
        container.add_stream("aac", rate=RATE, layout="mono")
        for k in range(10):
            container.mux(picture.encode(av.VideoFrame.from_ndarray(pattern(64, 48, k), format="rgb24")))
        container.mux(picture.encode(None))
    out = tmp_path / name
    info = ClipInfo((64, 48), Fraction(25), path=source)
    with VideoSink(out, film_format(out), info, what="film") as sink:
        sink.write(Cutout(Frame(pattern(64, 48, 0), index=0, pts=Fraction(0))))
    assert sink.notes == [f"audio 1: aac {UNTOLD}"]
    assert [stream["codec_type"] for stream in probe(out)["streams"]] == ["video"]


def packets_of(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


@pytest.mark.parametrize("name", ["o.mov", "o.mkv", "o.mp4"])
def test_of_sound_that_is_copied_what_is_not_damaged_is_kept(tmp_path: Path, name: str) -> None:
    source = tones(tmp_path / "s.ts", "aac", "stereo")
    packets, data = packets_of(source), bytearray(source.read_bytes())
    data[data.index(packets[40][:16], len(data) // 2)] = (
        0  # of a header; FFmpeg loses some packets in looking for another
    )
    source.write_bytes(data)
    good = [packet[7:] for packet in packets_of(source) if packet in packets]  # without the header each has there
    assert 70 < len(good) < len(packets)
    with av.open(str(tmp_path / name), "w") as container:
        carrier = StreamCarrier(source, container)
        carrier.finish()
        carrier.close()
    assert carrier.notes[0] == "audio 0: aac copied"
    assert re.fullmatch(r"audio 0: \d damaged packets? left out", carrier.notes[1])
    assert [packet for packet in packets_of(tmp_path / name) if packet in good] == good
    (sound,) = probe(tmp_path / name)["streams"]
    assert sound["codec_name"] == "aac"


@pytest.mark.parametrize("name", ["o.mp4", "o.mkv", "o.webm"])
def test_a_packet_that_ends_before_it_begins_does_not_cost_the_film(tmp_path: Path, name: str) -> None:
    """As Ogg's last one may, in 32 bits that know no sign; a muxer fails of it at its end."""
    source = tones(tmp_path / "s.ogg", "vorbis", "stereo")
    with av.open(str(source)) as container:
        last = [packet.pts for packet in container.demux(audio=0) if packet.size][-1]

    def spoil(packet: Any) -> None:
        if packet.pts == last:
            packet.duration = 2**32 - 48

    assert packets_of(carried(source, tmp_path / name, spoil=spoil)) == packets_of(source)
    assert float(probe(tmp_path / name)["format"]["duration"]) == pytest.approx(2, abs=0.02)


@pytest.mark.parametrize("name", ["o.webm", "o.mkv"])
def test_what_a_decoder_keeps_back_is_heard_at_the_end(tmp_path: Path, name: str) -> None:
    needs_ffmpeg()
    sound = tones(tmp_path / "s.wav", "pcm_s16le", "stereo")
    source = tmp_path / "s.wma"
    subprocess.run(["ffmpeg", "-v", "error", "-i", str(sound), "-c:a", "wmav2", str(source)], check=True)
    heard, whole = loudness(carried(source, tmp_path / name)), loudness(source)
    assert len(heard) == len(whole)
    assert heard[-5:] == pytest.approx(whole[-5:], abs=0.02)


def test_a_muxer_that_refuses_nearly_all_is_an_error(tmp_path: Path) -> None:
    source = tones(tmp_path / "s.ts", "aac", "stereo")
    data, at, seen = bytearray(source.read_bytes()), 0, 0
    header = packets_of(source)[0][:3]
    while (at := data.find(header, at)) >= 0:
        if seen > 2:
            data[at + 1] &= 0xFE  # a checksum follows, and there are two frames in one
            data[at + 6] |= 1
        at, seen = at + 4, seen + 1
    assert seen > 80
    source.write_bytes(data)
    with av.open(str(tmp_path / "o.mov"), "w") as container:
        carrier = StreamCarrier(source, container)
        with pytest.raises(av.error.FFmpegError):
            carrier.finish()
        carrier.close()


def test_lines_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    told = "1\n00:00:00,200 --> 00:00:00,900\nGr\xfc\xdfe\n\n2\n00:00:01,200 --> 00:00:01,900\nBye\n"
    (tmp_path / "t.srt").write_text(told, encoding="latin-1")
    needs_ffmpeg()
    tones(tmp_path / "s.mkv", "flac", "mono")
    command = [
        "ffmpeg",
        "-v",
        "error",
        "-i",
        tmp_path / "s.mkv",
        "-i",
        tmp_path / "t.srt",
        "-c",
        "copy",
        tmp_path / "t.mkv",
    ]
    subprocess.run([str(part) for part in command], check=True)
    with av.open(str(tmp_path / "o.webm"), "w") as container:
        carrier = StreamCarrier(tmp_path / "t.mkv", container)
        carrier.finish()
        carrier.close()
    assert "subtitle 1: 1 damaged packet left out" in carrier.notes


@pytest.mark.parametrize("name", ["o.mov", "o.mp4", "o.mkv", "o.webm"])
def test_a_line_that_ends_before_it_begins_does_not_cost_the_film(tmp_path: Path, name: str) -> None:
    needs_ffmpeg()
    tones(tmp_path / "s.mkv", "flac", "mono")
    (tmp_path / "t.srt").write_text("1\n00:00:00,200 --> 00:00:00,900\nOne\n\n2\n00:00:01,200 --> 00:00:01,100\nTwo\n")
    parts = [
        "-i",
        str(tmp_path / "s.mkv"),
        "-i",
        str(tmp_path / "t.srt"),
        "-c:a",
        "copy",
        "-c:s",
        "srt",
        str(tmp_path / "t.mkv"),
    ]
    subprocess.run(["ffmpeg", "-v", "error", *parts], check=True)
    with av.open(str(tmp_path / name), "w") as container:
        carrier = StreamCarrier(tmp_path / "t.mkv", container)
        carrier.finish()
        carrier.close()
    assert "subtitle 1: 1 line whose end is damaged, shown for 5 s" in carrier.notes
    with av.open(str(tmp_path / name)) as made:
        lines = [packet for packet in made.demux(subtitles=0) if packet.size > 2]  # .mov says where none is shown, too
        assert [line.duration * line.time_base for line in lines] == [Fraction(7, 10), 5]


def test_a_line_without_a_time_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "t.srt").write_text("1\n00:00:00,200 --> 00:00:00,900\nOne\n\n2\n00:00:01,200 --> 00:00:01,900\nTwo\n")
    with av.open(str(tmp_path / "t.srt")) as source, av.open(str(tmp_path / "o.vtt"), "w") as output:
        route = Text(source.streams.subtitles[0], output, "webvtt")
        first, second = [packet for packet in source.demux() if packet.size]
        first.pts = None
        assert [line.pts for line in route.convert(first, Fraction(0))] == [200]  # when it is decoded
        second.pts = second.dts = None
        assert route.convert(second, Fraction(0)) == []
    assert route.lost == 1


def test_chapters_of_a_source_whose_clock_starts_late(tmp_path: Path) -> None:
    sound = tones(tmp_path / "sound.mkv", "flac", "mono", first_s=5)
    with av.open(str(sound)) as given, av.open(str(tmp_path / "s.mkv"), "w") as container:
        copy = container.add_stream_from_template(given.streams.audio[0])
        container.set_chapters(
            [{"id": k, "start": 5000 + 1000 * k, "end": 6000 + 1000 * k, "time_base": Fraction(1, 1000), "metadata": {}}
             for k in range(2)]
        )  # fmt: skip
        for packet in given.demux(audio=0):
            if packet.dts is not None:
                packet.stream = copy
                container.mux(packet)
    with av.open(str(tmp_path / "o.mkv"), "w") as container:
        carrier = StreamCarrier(tmp_path / "s.mkv", container)
        carrier.finish()
        carrier.close()
    chapters = probe(tmp_path / "o.mkv")["chapters"]
    assert [(float(each["start_time"]), float(each["end_time"])) for each in chapters] == [(0, 1), (1, 2)]


def test_a_blu_rays_deep_sound_loses_nothing_in_matroska(tmp_path: Path) -> None:
    samples = np.random.default_rng(0).integers(-(1 << 23), 1 << 23, (1, 2 * RATE), np.int32) << 8
    with av.open(str(tmp_path / "s.m2ts"), "w", format="mpegts", options={"mpegts_m2ts_mode": "1"}) as container:
        stream = container.add_stream("pcm_bluray", rate=RATE, layout="stereo")
        stream.codec_context.format = "s32"
        frame = av.AudioFrame.from_ndarray(samples, format="s32", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = RATE, 0, Fraction(1, RATE)
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    heard = []
    for path in (tmp_path / "s.m2ts", carried(tmp_path / "s.m2ts", tmp_path / "o.mkv")):
        with av.open(str(path)) as container:
            heard.append(np.concatenate([piece.to_ndarray() for piece in container.decode(audio=0)], axis=1))
    assert np.array_equal(heard[0], heard[1])
    assert (heard[0] & 0xFF00).any()  # more than 16 bits of it


@pytest.mark.parametrize("lengths_s", [[1, 40], [1] * 18], ids=["its last is shown for long", "it runs"])
@pytest.mark.parametrize("segments", [False, True])
def test_a_long_gap_stays_one_while_there_is_a_picture(tmp_path: Path, lengths_s: list[int], segments: bool) -> None:
    """Of a source whose clock starts at 30 s."""
    sound = sound_file(tmp_path / "s.mkv", times((30, 31), (46, 47)))
    info = ClipInfo((64, 48), Fraction(25), Fraction(1, 1000), path=sound, start_s=Fraction(30))
    out, alpha = tmp_path / "o.webm", np.full((48, 64), 255, np.uint8)
    kind = output_format(out)
    sink = FilmSegments(out, kind, info, tmp_path) if segments else VideoSink(out, kind, info)
    for k, length_s in enumerate(lengths_s):
        frame = Frame(pattern(64, 48, k), index=k, pts=Fraction(k), duration_s=Fraction(length_s))
        sink.write(Cutout(frame, (), (0, 0, 64, 48), alpha))
    if isinstance(sink, FilmSegments):
        sink.finish("a")
        sink.join(["a"], whole=True)
    sink.close()
    assert not [note for note in sink.notes if "without sound" in note]
    loud = loudness(out) > 0.1
    assert len(loud) == pytest.approx(850, abs=3)
    assert loud[2:46].all()
    assert not loud[54:796].any()
    assert loud[804:846].all()


def several(path: Path) -> Path:
    """Two sounds: the second is for who cannot see, and players are to play it."""
    with av.open(str(path), "w") as container:
        streams = [container.add_stream("flac", rate=RATE, layout="mono") for _ in range(2)]
        streams[0].disposition = av.stream.Disposition(0)
        streams[1].disposition = av.stream.Disposition.default | av.stream.Disposition.visual_impaired
        for stream in streams:
            frame = av.AudioFrame.from_ndarray(np.zeros((1, RATE), np.int16), format="s16", layout="mono")
            frame.sample_rate, frame.pts = RATE, 0
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("chosen", "default"), [(None, [0, 1]), (True, [1, 0]), (False, [0, 0])], ids=["as it was", "chosen", "not chosen"]
)
def test_which_sound_is_to_be_played(tmp_path: Path, chosen: bool | None, default: list[int]) -> None:
    with av.open(str(tmp_path / "o.mkv"), "w") as container:
        carrier = StreamCarrier(several(tmp_path / "s.mkv"), container, chosen=chosen)
        carrier.finish()
        carrier.close()
    told = [stream["disposition"] for stream in probe(tmp_path / "o.mkv")["streams"]]
    assert [each["default"] for each in told] == default
    assert [each["visual_impaired"] for each in told] == [0, 1]


def test_opus_that_is_told_to_begin_early_loses_nothing(tmp_path: Path) -> None:
    source = tones(tmp_path / "s.mkv", "libopus", "mono")
    with av.open(str(source)) as container:
        first = next(packet for packet in container.demux(audio=0) if packet.size)
        assert first.pts * first.time_base < 0
    with av.open(str(tmp_path / "o.mkv"), "w") as container:
        carrier = StreamCarrier(source, container, start_s=Fraction(0), trims=True)
        carrier.finish()
        carrier.close()
    assert packets_of(tmp_path / "o.mkv") == packets_of(source)
