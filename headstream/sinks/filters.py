"""FFmpeg's filters that a picture goes through before it is encoded: one frame in, one frame out."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from headstream.errors import SinkError
from headstream.types import Cutout


class Palette:
    """RGBA frames with 256 colours each, one of them transparent, by FFmpeg's palettegen and paletteuse."""

    def __init__(self, width: int, height: int, time_base: Fraction) -> None:
        import av

        self._graph = graph = av.filter.Graph()
        self._time_base = time_base
        self._source = graph.add_buffer(width=width, height=height, format="rgba", time_base=time_base)
        split = graph.add("split")
        generate = graph.add("palettegen", "reserve_transparent=1:stats_mode=single")
        use = graph.add("paletteuse", "new=1:alpha_threshold=128:dither=bayer")
        sink = graph.add("buffersink")
        self._source.link_to(split)
        split.link_to(use, 0, 0)
        split.link_to(generate, 1, 0)
        generate.link_to(use, 0, 1)
        use.link_to(sink)
        graph.configure()

    def frame(self, cutout: Cutout, when: Fraction) -> Any:
        """The frame, in colours a GIF has."""
        import av

        frame = av.VideoFrame.from_ndarray(cutout.rgba(), format="rgba")
        frame.pts, frame.time_base = round(when / self._time_base), self._time_base
        return _through(self._graph, frame)


class Fields:
    """Frames marked as two fields each, by FFmpeg's setfield: PyAV cannot mark them."""

    def __init__(self, width: int, height: int, pix_fmt: str, *, top_first: bool) -> None:
        import av

        self._graph = graph = av.filter.Graph()
        source = graph.add_buffer(width=width, height=height, format=pix_fmt, time_base=Fraction(1, 1000))
        graph.link_nodes(source, graph.add("setfield", "tff" if top_first else "bff"), graph.add("buffersink"))
        graph.configure()

    def marked(self, frame: Any) -> Any:
        """The frame, its pixels where they were."""
        return _through(self._graph, frame)


def _through(graph: Any, frame: Any) -> Any:
    import av

    graph.push(frame)
    try:
        return graph.pull()
    except (av.error.BlockingIOError, av.error.EOFError) as error:
        raise SinkError(f"a filter kept a frame back: {error}") from error
