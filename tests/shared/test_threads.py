"""Threads that an interrupt cannot make us lose sight of."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

import pytest

from headstream.shared.threads import JoinedThread


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_join_broken_off_by_an_interrupt_can_be_asked_for_again() -> None:
    main = threading.main_thread().ident
    assert main is not None
    waited, may_end, finished = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        waited.wait(30)
        time.sleep(0.1)  # until it is waited for
        signal.pthread_kill(main, signal.SIGINT)
        may_end.wait(30)
        finished.set()

    thread = JoinedThread(target=work)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            waited.set()
            thread.join()
    finally:
        signal.signal(signal.SIGINT, before)
    assert thread.is_alive()
    thread.join(0.01)
    assert not finished.is_set()
    threading.Timer(0.1, may_end.set).start()
    thread.join()
    assert finished.is_set()
    assert not thread.is_alive()


def test_it_ends_as_others_do() -> None:
    told: list[threading.ExceptHookArgs] = []
    before, threading.excepthook = threading.excepthook, told.append
    try:
        thread = JoinedThread(target=lambda: 1 // 0, name="w", daemon=True)
        with pytest.raises(RuntimeError, match="before it is started"):
            thread.join()
        thread.start()
        thread.join()
        thread.join()
    finally:
        threading.excepthook = before
    assert [args.exc_type for args in told] == [ZeroDivisionError]
    assert not thread.is_alive()


def test_it_does_not_wait_for_itself() -> None:
    """As where an iteration nobody ended is collected in the very thread that feeds it."""
    told: list[str] = []

    def work() -> None:
        try:
            thread.join()
        except RuntimeError as error:
            told.append(str(error))

    thread = JoinedThread(target=work, daemon=True)
    thread.start()
    thread.join(30)
    assert told == ["cannot join current thread"]


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # that is what is tested
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child_does_not_wait_for_what_does_not_run_there() -> None:
    may_end = threading.Event()
    thread = JoinedThread(target=may_end.wait, daemon=True)
    thread.start()
    child = os.fork()
    if child == 0:
        thread.join()
        os._exit(7)
    may_end.set()
    for _ in range(300):
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            break
        time.sleep(0.1)
    else:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        pytest.fail("the child waits")
    assert os.waitstatus_to_exitcode(status) == 7
    thread.join()
