"""headstream batch"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headstream.cli.console import cut_result, emit_json, say
from headstream.cli.options import (
    BackgroundOption,
    CodecOption,
    DeviceOption,
    HairColorOption,
    HeadsOption,
    HqOption,
    JsonOption,
    ModelOption,
    PartOption,
    TrimOption,
    completing,
)

if TYPE_CHECKING:
    from headstream.batch.job import BatchProgress, BatchReport

_TELL_EVERY_S = 60.0  # where there is no terminal to draw on
_SHOWN = 20


def batch(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="IN...",
            help="Videos and photos, folders of them, patterns, .csv or .jsonl manifests; also s3://, gs://, ...",
        ),
    ],
    out: Annotated[str, typer.Option("--out", "-o", help="Folder for the results, here or s3://, gs://, ...")],
    format: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="mov|webm|mkv|mp4|png|webp|apng|gif",
            help="What videos are cut into.",
            autocompletion=completing("mov", "webm", "mkv", "mp4", "png", "webp", "apng", "gif"),
        ),
    ] = "mov",
    background: BackgroundOption = "transparent",
    codec: CodecOption = None,
    matte: Annotated[
        str | None,
        typer.Option(
            metavar="mov|webm|mkv|mp4|png",
            help="Also write each video's matte as a grey video: STEM.matte.EXT.",
            autocompletion=completing("mov", "webm", "mkv", "mp4", "png"),
        ),
    ] = None,
    stages: Annotated[bool, typer.Option("--stages", help="Also write a figure of all stages of each photo.")] = False,
    heads: HeadsOption = "largest",
    part: PartOption = "head",
    hair_color: HairColorOption = None,
    hq: HqOption = False,
    trim: TrimOption = False,
    model: ModelOption = "default",
    device: DeviceOption = "auto",
    workers: Annotated[int | None, typer.Option(metavar="N", help="Processes; usually one for each core.")] = None,
    resume: Annotated[bool, typer.Option(help="Leave alone what is done and unchanged.")] = True,
    recursive: Annotated[bool, typer.Option(help="Also look in the folders below a folder.")] = True,
    report: Annotated[Path | None, typer.Option(metavar="HTML", help="Write a page of what became of each.")] = None,
    ray: Annotated[
        str | None, typer.Option(metavar="local|ADDRESS", help="Run on Ray: on this machine, or on a cluster.")
    ] = None,
    gpus: Annotated[float | None, typer.Option(help="With --ray: a worker's share of GPUs, like 0.5.")] = None,
    split: Annotated[
        float,
        typer.Option(metavar="SECONDS", help="Cut films of twice that and more in pieces, side by side; 0: never."),
    ] = 600.0,
    json: JsonOption = False,
) -> int:
    """Cut the heads out of many videos and photos. Run it again to go on: what is done and unchanged is left alone."""
    from headstream.batch.job import BatchJob, Wish
    from headstream.batch.run import run_batch

    wish = Wish(
        format=format,
        background=background,
        codec=codec,
        matte=matte,
        heads=heads,
        part=part,
        hair_color=hair_color,
        stages=stages,
        hq=hq,
        trim=trim,
    )
    job = BatchJob(
        tuple(inputs),
        out,
        wish,
        model=model,
        device=device,
        workers=workers,
        resume=resume,
        recursive=recursive,
        report=report,
        ray=ray,
        gpus=gpus,
        split_s=split,
    )
    with _progress() as progress:
        done = run_batch(job, progress)
    _tell(done, out, report)
    if json:
        emit_json(as_json(done))
    if done.interrupted:
        left = done.total - done.count("done", "no_head", "skipped")
        say(f"headstream: interrupted with {left} of {done.total} left; the same command goes on from here")
        return 130
    if done.count("failed"):
        return 1
    return 0 if any(outcome.frames_with_head for outcome in done.outcomes) else 3


def as_json(report: BatchReport) -> dict[str, Any]:
    """A report as --json prints it."""
    from headstream.timing import mean_of

    fresh = [outcome for outcome in report.outcomes if outcome.state != "skipped"]
    frames = sum(outcome.frames for outcome in fresh)
    ran = sorted({(outcome.model, outcome.device) for outcome in fresh if outcome.device})
    return cut_result(
        frames_in=frames,
        frames_out=sum(outcome.frames for outcome in fresh if outcome.outputs),
        frames_with_head=sum(outcome.frames_with_head for outcome in fresh),
        seconds=report.seconds,
        fps=frames / report.seconds if report.seconds else 0.0,
        stages_ms=mean_of((outcome.frames, outcome.stages_ms) for outcome in fresh),
        device=", ".join(sorted({device for _, device in ran})),
        model=", ".join(sorted({model for model, _ in ran})),
        outputs=report.outputs,
        inputs=report.total,
        done=report.count("done"),
        no_head=[outcome.input for outcome in report.outcomes if outcome.state == "no_head"],
        skipped=report.count("skipped"),
        failed=[{"input": o.input, "error": o.reason} for o in report.outcomes if o.state == "failed"],
        frames=frames,
        workers=report.workers,
        results=report.results,
        interrupted=report.interrupted,
    )


def _tell(report: BatchReport, out: str, page: Path | None) -> None:
    failed = [outcome for outcome in report.outcomes if outcome.state == "failed"]
    for outcome in failed[:_SHOWN]:
        say(f"headstream: {' '.join(outcome.reason.split())}")
    if len(failed) > _SHOWN:
        say(f"headstream: ... and {len(failed) - _SHOWN} more; see {report.results}")
    counts = [
        (report.count("done"), "cut"),
        (report.count("skipped"), "done before"),
        (report.count("no_head"), "without a head"),
        (len(failed), "failed"),
    ]
    headless = [outcome.input for outcome in report.outcomes if outcome.state == "no_head"]
    for name in headless[:_SHOWN]:
        say(f"headstream: {name}: no head found")
    if len(headless) > _SHOWN:
        say(f"headstream: ... and {len(headless) - _SHOWN} more without a head; see {report.results}")
    said = ", ".join(f"{count} {word}" for count, word in counts if count)
    ran = sorted({f"{o.model} on {o.device}" for o in report.outcomes if o.device})
    networks = f"; {', '.join(ran)}" if ran else ""
    inputs = "1 input" if report.total == 1 else f"{report.total} inputs"
    say(f"{inputs}: {said or 'none done'}; {report.seconds:.1f} s{networks}; results in {out}")
    if page is not None:
        say(f"wrote {page}")


@contextmanager
def _progress() -> Iterator[Callable[[BatchProgress], None]]:
    """Draws a bar with the time left on a terminal; elsewhere says a line a minute."""
    if not sys.stderr.isatty():
        yield _line_a_minute()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), speed_estimate_period=600) as bar:
        task = bar.add_task("looking", total=1.0)

        def update(now: BatchProgress) -> None:
            failed = f", {now.failed} failed" if now.failed else ""
            bar.update(task, completed=now.fraction, description=f"{now.done} of {now.total}{failed}")

        yield update


def _line_a_minute() -> Callable[[BatchProgress], None]:
    started = last = time.monotonic()

    def update(now: BatchProgress) -> None:
        nonlocal last
        seconds = time.monotonic() - started
        if time.monotonic() - last < _TELL_EVERY_S:
            return
        last = time.monotonic()
        left = f", about {seconds * (1 / now.fraction - 1) / 60:.0f} min left" if now.fraction > 0.01 else ""
        say(f"{now.done} of {now.total} done, {now.failed} failed{left}")

    return update
