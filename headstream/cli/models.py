"""headstream models"""

from __future__ import annotations

from typing import Annotated

import typer

from headstream.cli.console import emit_json
from headstream.cli.options import JsonOption, shipped_names
from headstream.errors import UsageError

app = typer.Typer(rich_markup_mode=None)


@app.callback(invoke_without_command=True)
def models(context: typer.Context, json: JsonOption = False) -> None:
    """List the weights that come with headstream, or show one."""
    if context.invoked_subcommand is None:
        list_models(json)
    elif json:
        raise UsageError(f"--json goes after the command: headstream models {context.invoked_subcommand} --json")


@app.command("list")
def list_models(json: JsonOption = False) -> None:
    """List them."""
    from headstream.segment.registry import DEFAULT_FAST_MODEL, DEFAULT_MODEL, shipped_models

    cards = shipped_models()
    cards.sort(key=lambda card: card.kind != "segmenter")  # what --model takes comes first
    defaults = {DEFAULT_MODEL: "photos", DEFAULT_FAST_MODEL: "video"}
    if json:
        told = [
            {
                "name": c.name,
                "kind": c.kind,
                "file": str(c.file),
                "licence": c.licence,
                "default_for": defaults.get(c.name),
            }
            for c in cards
        ]
        emit_json({"models": told})
        return
    for card in cards:
        size = card.file.stat().st_size / 1e6 if card.file.exists() else 0.0
        mark = f"  (default for {defaults[card.name]})" if card.name in defaults else ""
        print(f"{card.name:34} {card.kind:14} {size:5.1f} MB  {card.licence}{mark}")


@app.command("info")
def info(
    name: Annotated[
        str,
        typer.Argument(
            help="A name from `headstream models list`, an .onnx file or a card.", autocompletion=shipped_names
        ),
    ] = "default",
    json: JsonOption = False,
) -> None:
    """Show the card of one model and check its file against it."""
    from headstream.errors import ModelError
    from headstream.segment.registry import find_model, shipped_models

    card = next((c for c in shipped_models() if c.name == name), None) or find_model(name)
    try:
        card.check()
        state = "matches the card" if card.sha256 else "is there; its card has no sha256 to check it by"
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
