"""What is kept between calls of the Python interface, and who may give it back when."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from headstream import kept


def test_a_loan_ends_while_another_thread_loads_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when a forgotten ``cut_video`` is collected as garbage meanwhile, which must wait for nobody."""
    here = kept._Kept()
    loan = here.finder()
    loan.__enter__()
    loading, ended = threading.Event(), threading.Event()

    def load(*args: object, **options: object) -> bool:
        loading.set()
        return ended.wait(20)

    monkeypatch.setattr(kept, "load_segmenter", load)
    with ThreadPoolExecutor(1) as threads:
        network = threads.submit(here.network, "lite", "cpu", fast=False)
        assert loading.wait(20)
        loan.__exit__(None, None, None)
        ended.set()
        assert network.result()
    here.close()


def test_finders_that_were_in_use_at_once_stay_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "_FINDERS", 2)
    here = kept._Kept()
    with here.finder() as one, here.finder() as other, here.finder() as third:
        task = third._full._task
        del third
    assert list(here._idle) == [other, one]  # as they came back, but for the first
    for _ in range(200):  # a thread closes it
        if not task._handle:
            break
        time.sleep(0.05)
    assert not task._handle
    here.close()
