"""Cut-outs written out: how outputs end with the film, with Ctrl-C, and with an error, wherever it falls."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from headstream.errors import SinkError, SourceError
from headstream.films.outputs import Outputs
from headstream.sinks.threaded import ThreadedSink
from headstream.types import Cutout, Sink


def write_out(cutouts: Iterator[Cutout], outputs: Outputs, done: Callable[[Cutout], None]) -> bool:
    """Write cut-outs in a thread of their own and finish the outputs; ``done`` is told each. Returns whether Ctrl-C ended it:
    the outputs then hold what was done. Raises SourceError, telling where the frames before a break are; SinkError, telling
    how to go on; and whatever else ends it. No output is left then."""
    sink = ThreadedSink(outputs)
    interrupted = False
    try:
        for cutout in cutouts:
            sink.write(cutout)
            done(cutout)
    except KeyboardInterrupt:
        interrupted = True
        outputs.stop()
    except SourceError as error:
        outputs.incomplete()
        sink.close()
        raise SourceError(_with_rest(error, outputs)) from error
    except BaseException as error:
        give_up(sink, outputs)
        _raise_with_hint(error, outputs)
        raise
    return _finished(sink, outputs) or interrupted


def _finished(sink: ThreadedSink, outputs: Outputs) -> bool:
    """Finish; returns whether Ctrl-C fell into it."""
    interrupted = False
    try:
        try:
            sink.close()
        except KeyboardInterrupt:  # a film in one piece is finished all the same: it would be lost
            interrupted = True
            sink.close()
            outputs.close()
            if not outputs.joined and not outputs.hint():
                raise
    except KeyboardInterrupt:  # once more: not even the file of what is done is waited for
        give_up(sink, outputs)  # but for the threads that write, while the outputs are locked
        if not outputs.hint():
            raise
        interrupted = True
    except SinkError as error:
        give_up(sink, outputs)
        _raise_with_hint(error, outputs)
        raise
    return interrupted


def give_up(sink: Sink, outputs: Outputs) -> None:
    """Keep nothing of what ``sink``, in a thread of its own, may still be writing to ``outputs``."""
    outputs.discard()
    try:
        sink.close()
    except SinkError:
        pass  # the first error is on its way already


def _raise_with_hint(error: BaseException, outputs: Outputs) -> None:
    """Tell how to go on, too, where there is something to go on from."""
    if isinstance(error, SinkError) and (hint := outputs.hint()):
        raise SinkError(f"{error}; {hint}") from error


def _with_rest(error: SourceError, outputs: Outputs) -> str:
    if not outputs.joined:
        return f"{error}; nothing was written"
    hint = outputs.hint()
    rest = f"{error}; the {outputs.tally.frames} frames before that are in {outputs.joined[0]}"
    return f"{rest}; if it can be read again, {hint}" if hint else rest
