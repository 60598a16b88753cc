"""headstream models"""

from __future__ import annotations

from typing import Annotated

import typer

from headstream.cli.console import emit_json
from headstream.cli.options import JsonOption

app = typer.Typer(help="The weights that come with headstream.", no_args_is_help=True, rich_markup_mode=None)


@app.command("list")
def list_models(json: JsonOption = False) -> None:
    """List them."""
    from headstream.segment.registry import DEFAULT_FAST_MODEL, DEFAULT_MODEL, shipped_models

    cards = shipped_models()
    if json:
        emit_json(
            {"models": [{"name": c.name, "kind": c.kind, "file": str(c.file), "licence": c.licence} for c in cards]}
        )
        return
    for card in cards:
        size = card.file.stat().st_size / 1e6 if card.file.exists() else 0.0
        mark = {DEFAULT_MODEL: "  (default for photos)", DEFAULT_FAST_MODEL: "  (default for video)"}.get(card.name, "")
        print(f"{card.name:40} {card.kind:14} {size:5.1f} MB  {card.licence}{mark}")


@app.command("info")
def info(
    name: Annotated[str, typer.Argument(help="A name from `headstream models list`, or an .onnx file.")] = "default",
    json: JsonOption = False,
) -> None:
    """Show the card of one model and check its file against it."""
    from headstream.errors import ModelError
    from headstream.segment.registry import find_model, shipped_models

    card = next((c for c in shipped_models() if c.name == name), None) or find_model(name)
    try:
        card.check()
        state = "matches the card"
    except ModelError as error:
        state = str(error)
    if json:
        emit_json({"name": card.name, "path": str(card.file), "file_state": state} | card.details)
        return
    print(f"name: {card.name}\nfile: {card.file}\nfile state: {state}")
    for key, value in card.details.items():
        if key == "file":
            continue
        if isinstance(value, dict):
            print(f"{key}:")
            for inner, text in value.items():
                print(f"  {inner}: {text}")
        else:
            print(f"{key}: {', '.join(map(str, value)) if isinstance(value, list) else value}")
