"""A batch from end to end: what `headstream batch` does, for any caller."""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace

from headstream.batch.inputs import find_items
from headstream.batch.job import LIST, BatchJob, BatchProgress, BatchReport, Item, Setup
from headstream.batch.ledger import split, with_identity
from headstream.batch.places import Storage, is_numbered, is_remote, local_path, open_storage, own_name
from headstream.batch.pool import InProcess, LocalPool, Pool
from headstream.batch.sharing import Sharing
from headstream.batch.worker import check_wish
from headstream.errors import UsageError
from headstream.segment.load import pinned
from headstream.segment.registry import find_model, is_shipped
from headstream.shared.cores import cores_here
from headstream.sinks.partial import check_file, is_page
from headstream.sinks.photo import RESULT


def run_batch(job: BatchJob, progress: Callable[[BatchProgress], None] | None = None) -> BatchReport:
    """Cut all inputs of a job. An input that fails is an outcome; the rest goes on.

    On KeyboardInterrupt what is done stays done, and the report says ``interrupted``. Raises UsageError before any work
    for what makes no sense (nothing matched, options that contradict one another), ModelError, SinkError.
    """
    started = time.monotonic()
    if job.workers is not None and job.workers < 1:
        raise UsageError(f"--workers {job.workers}: expected at least 1")
    if job.gpus is not None and not (0 <= job.gpus <= 1 or (job.gpus > 1 and job.gpus % 1 == 0)):
        raise UsageError(f"--gpus {job.gpus:g}: expected a share of a GPU, 0 to 1, or a whole number of them")
    if not 0 <= job.split_s < math.inf:
        raise UsageError(f"--split {job.split_s:g}: expected a number of seconds, or 0 for films in one piece")
    items = _checked_items(job)
    job = replace(job, model=pinned(_findable(job.model)))  # for all workers, and for the next run, the same weights
    _check_parts(items, job)
    items = with_identity(items, job)
    storage = open_storage(job.out)
    storage.check()
    if job.report is not None:
        check_file(job.report)
    todo, finished = split(items, storage, resume=job.resume)
    report = BatchReport(len(items), results=storage.locate(LIST))
    if storage.clear_is_cheap:
        for outcome in finished:
            if outcome.kind == "video":
                storage.clear(own_name("pieces", outcome.place))
    outcomes = {outcome.place: replace(outcome, state="skipped") for outcome in finished}
    run = Sharing(job, storage, outcomes, len(items), progress)
    try:
        run.refuse([item for item in todo if item.problem])
        todo = [item for item in todo if not item.problem]
        if todo:
            run.go(todo, open_pool(job, [item.input for item in todo]), job.workers or most_workers(job))
        else:
            storage.sweep_work()  # what a run has left that was killed at its very end
    except KeyboardInterrupt:
        report.interrupted = True
    report.workers = run.workers
    report.outcomes = run.ordered(items)
    report.outputs = [storage.locate(out["name"]) for outcome in report.outcomes for out in outcome.outputs]
    report.seconds = time.monotonic() - started
    _write_summary(report, storage, job)
    return report


def _checked_items(job: BatchJob) -> list[Item]:
    wish = replace(job.wish, background=_findable(job.wish.background))
    items = find_items(job.inputs, wish, job.out, recursive=job.recursive)
    if all(item.problem for item in items):
        what = f"{job.inputs[0]}: no photos or videos in this folder but results" if job.inputs else "no inputs"
        raise UsageError(items[0].problem if items else what)
    for item in _one_of_each(items):
        try:
            check_wish(item.wish, item.kind)
        except UsageError as error:
            raise _said_of(item, str(error)) from error
    _check_apart(items, job)
    return items


def _one_of_each(items: list[Item]) -> list[Item]:
    """The first with each wish, of each kind."""
    return list({(item.wish, item.kind): item for item in reversed(items)}.values())[::-1]


def _said_of(item: Item, message: str) -> UsageError:
    return UsageError(f"{item.at}: {message}" if item.at else message)


def _check_parts(items: list[Item], job: BatchJob) -> None:
    """Raise UsageError for a part the network does not know. Networks of torch tell what they know when they are loaded."""
    for item in _one_of_each(items):
        wish = item.wish
        try:
            card = find_model(job.model, fast=item.kind == "video")
        except UsageError:
            return
        hair = wish.hair_color is not None or (wish.hq and item.kind == "photo")
        for part in (wish.part, "hair") if hair else (wish.part,):
            if part not in card.outputs:
                raise _said_of(item, f"model {card.name} knows {', '.join(card.outputs)}, not {part!r}")


def _check_apart(items: list[Item], job: BatchJob) -> None:
    """Raise UsageError where a result would be written over something that is read."""
    reads = {_true_name(name) for name in (*job.inputs, *(item.input for item in items))}
    reads |= {_true_name(item.wish.background) for item in items if os.path.isfile(item.wish.background)}
    of_photos = {os.path.dirname(name) for name in reads if RESULT.fullmatch(os.path.basename(name))}
    of_films = reads | {os.path.dirname(name) for name in reads if is_numbered(os.path.basename(name))}
    linked = [os.path.split(item.input) for item in items]  # frames that lie elsewhere in truth
    of_films |= {_true_name(folder) for folder, name in linked if is_numbered(name)}
    written = {_true_name(_below(job.out, LIST))}
    if written & reads:
        raise UsageError(f"{_below(job.out, LIST)}: is read, and the list of results would replace it; rename it")
    for item in (item for item in items if not item.problem):
        for place in (_below(job.out, name) for name in (*item.places, *item.broken_off)):
            if _true_name(place) in (of_films if item.kind == "video" else of_photos):
                raise UsageError(f"{item.input}: its result would replace {place}, which is read; choose another --out")
            written.add(_true_name(place))
    if job.report is None:
        return
    report = _true_name(str(job.report))
    if report in reads:
        raise UsageError(f"--report {job.report}: would replace what is read; choose another name")
    folder, name = os.path.split(report)
    if report in written or (folder in written and (RESULT.fullmatch(name) or is_numbered(name))):
        raise UsageError(f"--report {job.report}: would replace a result; choose another name")
    if not is_page(job.report):  # a shell gives it the first of clips/*.mp4
        raise UsageError(f"--report {job.report}: is a page; name it .html")


def _below(out: str, name: str) -> str:
    return f"{out.rstrip('/')}/{name}"


def _true_name(name: str) -> str:
    try:
        return name if is_remote(name) else os.path.normcase(os.path.realpath(local_path(name)))
    except ValueError:  # no file can have such a name
        return name


def _findable(name: str) -> str:
    """A file's name that holds in other processes and on other machines, too; other words as they are, also where a folder is
    called so."""
    is_word = name in {"transparent", "blur"} or name.startswith("#") or is_shipped(name)
    return local_path(name) if not is_word and os.path.exists(os.path.expanduser(name)) else name


def open_pool(job: BatchJob, inputs: list[str]) -> Pool:
    """The workers a job asks for, no more than there are inputs; ``grow`` it where films are split."""
    cores = cores_here()
    workers = min(job.workers or cores, len(inputs))
    out = job.out if is_remote(job.out) else local_path(job.out)
    setup = Setup(out, job.model, job.device, wait_s=job.wait_s)
    in_memory = any(path.startswith("memory://") for path in [job.out, *inputs])
    if job.ray is not None:
        if in_memory:
            raise UsageError("memory:// is out of reach for a cluster; use a store that all its machines see")
        from headstream.batch.ray_pool import RayPool

        return RayPool(setup, job.ray, workers=job.workers, items=len(inputs), gpus=job.gpus)
    setup = replace(setup, threads=max(1, cores // workers))
    if in_memory:
        return InProcess(setup)
    return LocalPool(setup, workers)


def most_workers(job: BatchJob) -> int:
    """How many a pool may grow to: a core each here; a cluster knows its own room."""
    return cores_here() if job.ray is None else sys.maxsize


def _write_summary(report: BatchReport, storage: Storage, job: BatchJob) -> None:
    """results.jsonl and the report. Raises SinkError."""
    lines = []
    for outcome in report.outcomes:
        row = outcome.as_dict()
        del row["thumbnail"]
        lines.append(json.dumps(row, ensure_ascii=False))
    storage.write(LIST, "".join(f"{line}\n" for line in lines).encode(errors="backslashreplace"))
    if job.report is not None:
        from headstream.batch.report import write_report

        write_report(report, job.report)
