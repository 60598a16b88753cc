"""A batch from end to end: what `headstream batch` does, for any caller."""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from headstream.batch.inputs import find_items
from headstream.batch.job import BatchJob, BatchProgress, BatchReport, Item, Setup
from headstream.batch.ledger import split, with_identity
from headstream.batch.places import LocalStorage, Storage, is_remote, local_path, open_storage, own_name
from headstream.batch.pool import InProcess, LocalPool, Pool
from headstream.batch.sharing import Sharing
from headstream.batch.worker import check_wish
from headstream.errors import UsageError
from headstream.segment.load import pinned
from headstream.sinks.partial import check_writable
from headstream.sinks.photo import check_folder


def run_batch(job: BatchJob, progress: Callable[[BatchProgress], None] | None = None) -> BatchReport:
    """Cut all inputs of a job. An input that fails is an outcome; the rest goes on.

    On KeyboardInterrupt what is done stays done, and the report says ``interrupted``. Raises UsageError before any work
    for what makes no sense (nothing matched, options that contradict one another), ModelError, SinkError.
    """
    started = time.monotonic()
    if job.workers is not None and job.workers < 1:
        raise UsageError(f"--workers {job.workers}: expected at least 1")
    if not 0 <= job.split_s < math.inf:
        raise UsageError(f"--split {job.split_s:g}: expected a number of seconds, or 0 for films in one piece")
    items = _checked_items(job)
    job = replace(job, model=pinned(job.model))  # for all workers, and for the next run, the same weights
    items = with_identity(items, job)
    storage = open_storage(job.out)
    if isinstance(storage, LocalStorage):
        check_folder(storage.root)
    if job.report is not None:
        check_writable(job.report)
    todo, finished = split(items, storage, resume=job.resume)
    report = BatchReport(len(items), results=storage.locate("results.jsonl"))
    if isinstance(storage, LocalStorage):  # on a store asking for them costs too much
        for outcome in finished:
            if outcome.kind == "video":
                storage.clear(own_name("pieces", outcome.place))
    outcomes = {outcome.place: replace(outcome, state="skipped") for outcome in finished}
    run = Sharing(job, storage, outcomes, len(items), progress)
    try:
        run.refuse([item for item in todo if item.problem])
        todo = [item for item in todo if not item.problem]
        if todo:
            run.go(todo, open_pool(job, len(todo), [item.input for item in todo]), job.workers or most_workers(job))
    except KeyboardInterrupt:
        report.interrupted = True
    report.workers = run.workers
    report.outcomes = run.ordered(items)
    report.seconds = time.monotonic() - started
    _write_summary(report, storage, job)
    return report


def _checked_items(job: BatchJob) -> list[Item]:
    wish = replace(job.wish, background=_findable(job.wish.background))
    items = find_items(job.inputs, wish, job.out, recursive=job.recursive)
    if all(item.problem for item in items):
        raise UsageError(items[0].problem if items else "no inputs")
    for wish, kind in dict.fromkeys((item.wish, item.kind) for item in items):
        check_wish(wish, kind)
    return items


def _findable(name: str) -> str:
    """A file's name that holds in other processes and on other machines, too; other words as they are."""
    return local_path(name) if os.path.exists(os.path.expanduser(name)) else name


def open_pool(job: BatchJob, items: int, paths: list[str]) -> Pool:
    """The workers a job asks for, no more than there are inputs; ``grow`` it where films are split."""
    cores = cores_here()
    workers = min(job.workers or cores, items)
    out = job.out if is_remote(job.out) else local_path(job.out)
    setup = Setup(out, _findable(job.model), job.device, wait_s=job.wait_s)
    in_memory = any(path.startswith("memory://") for path in [job.out, *paths])
    if job.ray is not None:
        if in_memory:
            raise UsageError("memory:// is out of reach for a cluster; use a store that all its machines see")
        from headstream.batch.ray_pool import RayPool

        return RayPool(setup, job.ray, workers=job.workers, items=items, gpus=job.gpus)
    setup = replace(setup, threads=max(1, cores // workers))
    if in_memory:
        return InProcess(setup)
    return LocalPool(setup, workers)


def most_workers(job: BatchJob) -> int:
    """How many a pool may grow to: a core each here; a cluster knows its own room."""
    return cores_here() if job.ray is None else sys.maxsize


def cores_here() -> int:
    """Cores this process may use: of its affinity, and of its container's quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return max(1, min(cores, int(quota) // int(period)))
    except (OSError, ValueError):
        return cores


def _write_summary(report: BatchReport, storage: Storage, job: BatchJob) -> None:
    """results.jsonl and the report. Raises SinkError."""
    lines = []
    for outcome in report.outcomes:
        row = outcome.as_dict()
        del row["thumbnail"]
        lines.append(json.dumps(row, ensure_ascii=False))
    storage.write("results.jsonl", "".join(f"{line}\n" for line in lines).encode())
    if job.report is not None:
        from headstream.batch.report import write_report

        write_report(report, job.report)
