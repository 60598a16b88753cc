"""Terminals that are closed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress

import pytest

from headstream.shared.hangup import on_hangup, outliving_terminal

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="this system has no SIGHUP")


@pytest.fixture(autouse=True)
def _killed_by_it() -> object:
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


def test_the_innermost_acts_and_once() -> None:
    told: list[str] = []
    with on_hangup(lambda: told.append("outer")):
        with on_hangup(lambda: told.append("inner")):
            signal.raise_signal(signal.SIGHUP)
            signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGHUP)
    assert told == ["inner"]


def test_what_others_had_in_mind_with_it_stays() -> None:
    with on_hangup(lambda: None):
        with on_hangup(lambda: None):
            pass
        assert signal.getsignal(signal.SIGHUP) != signal.SIG_DFL
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_DFL
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # nohup
    with on_hangup(lambda: pytest.fail("called")):
        signal.raise_signal(signal.SIGHUP)


def test_what_is_said_on_a_terminal_that_is_gone_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = os.openpty()
    terminal = open(theirs, "w")  # noqa: SIM115
    monkeypatch.setattr(sys, "stderr", terminal)
    with outliving_terminal():
        print("all is well", file=sys.stderr, flush=True)
        assert os.read(ours, 100) == b"all is well\r\n"
        os.close(ours)
        print("is anybody there?", file=sys.stderr, flush=True)
    assert sys.stderr is terminal
    with suppress(OSError):
        terminal.close()


def test_a_terminal_that_was_gone_before_is_no_error_either(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = os.openpty()
    terminal = open(theirs, "w")  # noqa: SIM115
    os.close(ours)
    monkeypatch.setattr(sys, "stderr", terminal)
    with outliving_terminal():
        print("is anybody there?", file=sys.stderr, flush=True)
        sys.stderr.writelines(["no", "body"])
        sys.stderr.flush()
    assert sys.stderr is terminal
    with suppress(OSError):
        terminal.close()


def test_two_signals_of_one_ending_are_one_ctrl_c() -> None:
    code = """
import os, signal, sys, time
import headstream.cli as cli
def work(given):
    try:
        os.kill(os.getpid(), signal.SIGTERM); os.kill(os.getpid(), signal.SIGHUP); time.sleep(5)
    except KeyboardInterrupt:
        time.sleep(0.2)  # closing: a second interrupt would break into it
        return 42
cli._run = work
sys.exit(cli.main([]))
"""
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 42


def test_training_hears_it_between_two_steps() -> None:
    from headstream.shared.interrupts import held_interrupts

    done = []

    def interrupt() -> None:
        raise KeyboardInterrupt

    def step() -> None:
        with held_interrupts():
            signal.raise_signal(signal.SIGHUP)
            signal.raise_signal(signal.SIGHUP)  # the shell's, and the system's
            done.append(1)

    with on_hangup(interrupt), pytest.raises(KeyboardInterrupt):
        step()
    assert done == [1]


def test_what_is_finished_hears_no_signal_until_it_is() -> None:
    from headstream.shared.interrupts import held_interrupts

    done = False
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt), held_interrupts(second_waits=True) as came:
            for _ in range(3):
                signal.raise_signal(signal.SIGINT)
            assert came == [signal.SIGINT] * 3
            done = True
    finally:
        signal.signal(signal.SIGINT, before)
    assert done


def test_what_is_finished_hears_of_every_signal_that_came() -> None:
    from headstream.shared.interrupts import held_interrupts

    came: list[int] = []

    def note(number: int, frame: object) -> None:
        came.append(number)
        if number == signal.SIGINT:
            raise KeyboardInterrupt

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with pytest.raises(KeyboardInterrupt), held_interrupts(second_waits=True):
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGINT):
                signal.raise_signal(number)
            assert not came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert came == [signal.SIGINT, signal.SIGTERM]
