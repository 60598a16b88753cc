"""All commands."""

from __future__ import annotations

import typer
from typer.core import TyperGroup

from headstream.cli import (
    EndedByCtrlCError,
    batch,
    bench,
    crop,
    demo,
    doctor,
    evaluate,
    export,
    image,
    live,
    models,
    pack,
    paste,
    studio,
    track,
    train,
    video,
)


class _Commands(TyperGroup):
    def invoke(self, ctx: typer.Context) -> object:  # type: ignore[override]
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise EndedByCtrlCError from error


app = typer.Typer(
    name="headstream",
    cls=_Commands,
    help="Cut the head (face, hair, beard; no neck, no body) out of videos and photos.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def _main(
    version: bool = typer.Option(False, "--version", "-V", help="Show the version and exit.", is_eager=True),
) -> None:
    if version:
        from headstream import __version__

        print(f"headstream {__version__}")
        raise typer.Exit


app.command(name="demo")(demo.demo)
app.command(name="image")(image.image)
app.command(name="video")(video.video)
app.command(name="batch")(batch.batch)
app.command(name="live")(live.live)
app.command(name="studio")(studio.studio)
app.command(name="track")(track.track)
app.command(name="crop")(crop.crop)
app.command(name="paste")(paste.paste)
app.command(name="train")(train.train)
app.command(name="pack")(pack.pack)
app.command(name="evaluate")(evaluate.evaluate)
app.command(name="export")(export.export)
app.add_typer(models.app, name="models")
app.add_typer(bench.app, name="bench")
app.command(name="doctor")(doctor.doctor)
