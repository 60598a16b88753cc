"""headstream evaluate"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headstream.cli.console import emit_json, progress_bar, say
from headstream.cli.options import DeviceOption, JsonOption, PartOption
from headstream.words import parse_part

if TYPE_CHECKING:
    from headstream.evaluate.run import Evaluation


def evaluate(
    models: Annotated[list[str], typer.Argument(metavar="MODEL...", help="Anything --model takes; one or more.")],
    data: Annotated[
        str, typer.Option(metavar="KIND:FOLDER", help="Pictures with truth, of a kind that `train` takes.")
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for scores, mattes, the worst pictures, the report.")
    ],
    names: Annotated[Path | None, typer.Option(help="File of names, one a line: only these pictures.")] = None,
    part: PartOption = "head",
    pipeline: Annotated[
        bool, typer.Option("--pipeline", help="Find, crop and paste as `image` does, not the network alone.")
    ] = False,
    compare: Annotated[bool, typer.Option("--compare", help="Write report.html with the models side by side.")] = False,
    pictures: Annotated[int, typer.Option(min=1, help="How many pictures the report shows.")] = 24,
    device: DeviceOption = "auto",
    json: JsonOption = False,
) -> None:
    """Score networks against the truth. IoU, Dice, boundary F, MAD, neck leak, curves, the worst pictures."""
    from headstream.evaluate.models import EvaluationJob, evaluate_models

    job = EvaluationJob(
        tuple(models),
        data,
        out,
        names=names,
        part=parse_part(part),
        pipeline=pipeline,
        compare=compare,
        pictures=pictures,
        device=device,
    )

    def tell(result: Evaluation) -> None:
        if not json:
            print(" ".join(f"{key}={value}" for key, value in result.summary.items()))

    report = evaluate_models(job, lambda title: progress_bar(title, unit="pictures"), tell)
    if compare:
        say(f"wrote {out / 'report.html'}")
    if json:
        emit_json(
            {
                "out": str(out),
                "data": data,
                "models": [result.summary for result in report.results],
                "seconds": round(report.seconds, 3),
                "device": ", ".join(sorted({result.device for result in report.results})),
                "outputs": [str(path) for path in report.outputs],
            }
        )
    else:
        say(f"wrote {out}: summary.json, pictures.csv, curves.json, worst.jpg and mattes/ for each model")
