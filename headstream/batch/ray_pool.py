"""Workers on a Ray cluster: an actor for each, which Ray starts again elsewhere when it dies. The only file that imports ray.

An actor that has died counts as busy until it answers again. So a cluster that has shrunk goes on with what is left of it,
and an input that was lost is cut by whoever is free, rather than wait for its own actor.
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from headstream.batch.job import Item, Outcome, Setup
from headstream.batch.pool import Event
from headstream.errors import HeadstreamError, UsageError
from headstream.shared.cores import cores_here

_HOME = "USERPROFILE" if os.name == "nt" else "HOME"
_ANSWER_S = 10.0  # for a cluster to be reached
_CLOSE_S = 10.0  # for actors to clean up after themselves


class RayPool:
    """Actors of one CPU each, and of ``gpus`` where asked for. Safe to close again.

    address: "local" for a cluster of this machine's own, which ends with the pool; or a running one's.  workers: how many;
    None for as many as the cluster has room for now.  items: more workers than inputs are of no use, until it is told to
    ``grow``.
    """

    def __init__(self, setup: Setup, address: str, *, workers: int | None, items: int, gpus: float | None) -> None:
        self._ray = _ray(address)
        self._own_home = tempfile.TemporaryDirectory(prefix="headstream-ray-")
        self._owned = self._connect(address)
        home = [os.environ.get(_HOME, "")] if address == "local" and self._owned else []
        share = gpus if gpus is not None else float(setup.device in ("cuda", "tensorrt"))
        device = "cpu" if setup.device == "auto" and not share else setup.device
        room = self._room(share)
        if not room and (address == "local" or workers is None):  # else it may grow; actors wait until it has
            have = self._ray.cluster_resources()
            self._leave()
            raise UsageError(_no_room(address, share, have))
        self._most = workers or room
        _Actor.here = self._ray.method(max_task_retries=-1)(_Actor.here)  # type: ignore[method-assign]
        actor = self._ray.remote(num_cpus=1, num_gpus=share, max_restarts=-1, max_task_retries=0)(_Actor)
        self._new = lambda: actor.remote(replace(setup, device=device, threads=1), *home)
        self._actors: list[Any] = []
        # What is awaited: (number of the actor, its input; None for the answer that it is there).
        self._awaited: dict[Any, tuple[int, Item | None]] = {}
        self._free: list[int] = []
        self._reasons: list[str] = []  # of actors that will never come back
        self.workers = 0
        self.grow(items)

    def _connect(self, address: str) -> bool:
        """Join or start a cluster; True if it is ours to end."""
        if self._ray.is_initialized():
            return False
        _check_answers(address)
        quiet = {"log_to_driver": False, "logging_level": "ERROR"}
        with _own_signals():
            try:
                if address == "local":
                    with _told_where_it_is(Path(self._own_home.name)):
                        self._ray.init(address="local", num_cpus=cores_here(), include_dashboard=False, **quiet)
                else:
                    self._ray.init(address=address, **quiet)
            except (OSError, RuntimeError, ValueError, self._ray.exceptions.RayError) as error:
                raise UsageError(f"--ray {address}: no cluster can be joined there: {error}") from error
        return True

    def grow(self, workers: int) -> None:
        """Have up to so many, as far as was asked for or there is room."""
        while self.workers < min(workers, self._most):
            self._actors.append(self._new())
            self._greet(self.workers)
            self.workers += 1

    def _room(self, share: float) -> int:
        """How many workers the cluster has room for."""
        have = self._ray.cluster_resources()
        by_cpu = int(have.get("CPU", 0))
        return min(by_cpu, int(have.get("GPU", 0) / share)) if share else by_cpu

    def _greet(self, number: int) -> None:
        self._awaited[self._actors[number].here.remote()] = (number, None)

    @property
    def idle(self) -> int:
        """How many inputs could be taken at once."""
        return len(self._free)

    def submit(self, item: Item) -> None:
        """Hand an input to a free actor."""
        number = self._free.pop()
        self._awaited[self._actors[number].cut.remote(item)] = (number, item)

    def wait(self, timeout_s: float) -> Sequence[Event]:
        """What happened. Raises HeadstreamError when no actor is left that could ever work."""
        ready, _ = self._ray.wait(list(self._awaited), num_returns=1, timeout=timeout_s)
        if len(self._awaited) > 1 and ready:
            ready, _ = self._ray.wait(list(self._awaited), num_returns=len(self._awaited), timeout=0)
        return [event for ref in ready for event in self._heard(ref)]

    def _heard(self, ref: Any) -> Iterator[Event]:
        number, item = self._awaited.pop(ref)
        try:
            said = self._ray.get(ref)
        except self._ray.exceptions.RayActorError as error:
            yield from self._lost(number, item, error)
            return
        self._free.append(number)
        if item is not None:
            assert isinstance(said, Outcome)
            yield Event(item.number, outcome=said)

    def _lost(self, number: int, item: Item | None, error: Exception) -> Iterator[Event]:
        why = " ".join(str(error).split())
        if item is not None:
            yield Event(item.number, lost=f"its worker or node was lost ({type(error).__name__})")
            self._greet(number)  # answered when Ray has started it again, here or elsewhere
            return
        self._reasons.append(why)
        if len(self._reasons) == self.workers:
            raise HeadstreamError(f"workers do not start: {self._reasons[0]}")

    def close(self, *, now: bool = False) -> None:
        """End the actors, and the cluster if it is ours; ``now``: in the middle of what they do. Safe to call again."""
        if not self._actors:
            return
        if not now:
            asked = [self._actors[number].close.remote() for number in self._free]
            self._ray.wait(asked, num_returns=len(asked), timeout=_CLOSE_S) if asked else None
        for actor in self._actors:
            self._ray.kill(actor)
        if self._awaited:  # their work folders are swept next, if they are gone by then
            self._ray.wait(list(self._awaited), num_returns=len(self._awaited), timeout=_CLOSE_S)
        self._actors = []
        self._leave()

    def _leave(self) -> None:
        if self._owned:
            self._ray.shutdown()
        self._own_home.cleanup()


class _Actor:
    """A worker on some node of the cluster."""

    def __init__(self, setup: Setup, home: str = "") -> None:
        import logging

        if home:
            os.environ[_HOME] = home

        from headstream.batch.worker import Worker

        logging.getLogger("headstream").setLevel(logging.ERROR)  # warnings are in the results
        self._worker = Worker(setup)

    def here(self) -> bool:
        """Answered as soon as it runs."""
        return True

    def cut(self, item: Item) -> Outcome:
        """One input from end to end."""
        return self._worker.cut(item)

    def close(self) -> None:
        """Leave nothing behind."""
        self._worker.close()


def _ray(address: str) -> Any:
    """The package, told before it is imported to report nothing to anybody, to stay on this machine where it may, and to
    leave stdout alone."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_USAGE_STATS_REPORT_URL"] = "http://127.0.0.1:9/"  # even that it is switched off is a report
    # Of what raylets say of a lost node, which it would print there.
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", "^")
    if address == "local":
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # loopback addresses, on every system
        if "RAY_AUTH_TOKEN_PATH" not in os.environ:
            os.environ.setdefault("RAY_AUTH_TOKEN", _token())
    try:
        import ray
    except ImportError as error:
        raise UsageError("--ray needs Ray: pip install 'headstream[cluster]'") from error
    return ray


def _token() -> str:
    """The password of clusters that this process starts: the user's if there is one, else any. Ray would keep one it makes in
    the home it is started with, which goes with the first cluster, and go by it in the next."""
    try:
        return (Path.home() / ".ray" / "auth_token").read_text(encoding="utf-8").strip() or secrets.token_hex()
    except (OSError, ValueError, RuntimeError):
        return secrets.token_hex()


def _no_room(address: str, share: float, have: dict[str, float]) -> str:
    wanted = f"1 CPU and {share:g} GPU" if share else "1 CPU"
    there = f"{have.get('CPU', 0):g} CPUs and {have.get('GPU', 0):g} GPUs"
    advice = "" if address == "local" else "; name the --workers it will have room for, and they are waited for"
    return f"--ray {address}: no room for a worker, which takes {wanted}: there are {there}{advice}"


def _check_answers(address: str) -> None:
    """Raise UsageError where nobody listens: Ray itself waits for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER_S).close()
    except (OSError, OverflowError) as error:
        raise UsageError(f"--ray {address}: no cluster answers there: {error}") from error


@contextmanager
def _told_where_it_is(home: Path) -> Iterator[None]:
    """Without a file of the cluster's description in its home, Ray asks the network (the metadata addresses of clouds, and
    the name server for them) where it is, usage statistics or not. So it is started with a home that has one."""
    (home / "ray_bootstrap_config.yaml").write_text("{}\n", encoding="utf-8")
    before = os.environ.get(_HOME)
    os.environ[_HOME] = str(home)
    try:
        yield
    finally:
        os.environ.pop(_HOME)
        os.environ.update({_HOME: before} if before is not None else {})


@contextmanager
def _own_signals() -> Iterator[None]:
    """Ray takes SIGTERM for itself; whoever runs the batch had plans for it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
