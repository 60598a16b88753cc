"""headstream studio"""

from __future__ import annotations

import importlib.util
import tempfile
import webbrowser
from typing import Annotated

import typer

from headstream.cli.console import say
from headstream.cli.options import DeviceOption, ModelOption
from headstream.errors import UsageError


def studio(
    camera: Annotated[
        str | None,
        typer.Option(
            metavar="N|NAME|PATH|URL",
            help="Also offer this machine's camera, as of headstream live.",
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="Where to listen; beyond this machine only with --token.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 chooses a free one.")] = 8765,
    token: Annotated[str | None, typer.Option(help="What visitors must have in the address, once.")] = None,
    public_url: Annotated[
        str | None,
        typer.Option(
            metavar="https://HOST",
            help="What others open, where a proxy with encryption stands in front; only with --token.",
        ),
    ] = None,
    open_: Annotated[bool, typer.Option("--open/--no-open", help="Open it in the browser.")] = True,
    max_sessions: Annotated[int, typer.Option(min=1, max=64, help="Live pages at once.")] = 2,
    max_upload_mb: Annotated[int, typer.Option(min=1, help="The largest file that is taken.")] = 2048,
    model: ModelOption = "default",
    device: DeviceOption = "auto",
) -> int:
    """A page on this machine that cuts live. Your webcam; photos and videos dropped on it; an overlay for OBS."""
    need_studio()
    from headstream.capture.cameras import parse_target
    from headstream.segment.load import load_segmenter
    from headstream.web.address import bound
    from headstream.web.app import create_app
    from headstream.web.server import serve

    tempfile.gettempdir()  # where there is none, that is told here; the server would tell a traceback
    target = parse_target(camera) if camera is not None else None
    listener, address = bound(host, port, token, public_url)
    try:
        app = create_app(
            load_segmenter(model, device=device, fast=True),
            camera=target,
            max_sessions=max_sessions,
            max_upload_mb=max_upload_mb,
            model=model,
            device=device,
            asks_token=token is not None,
        )

        def ready() -> None:
            say(f"headstream studio: {address.url}  (Ctrl-C ends it)")
            if address.public:
                say(f"headstream studio: waits for its proxy at {address.listens}")
            if address.lan_url:
                say(f"headstream studio: in this network {address.lan_url}  (cameras need https: see --public-url)")
            if open_:
                webbrowser.open(address.url)

        serve(app, listener, address, ready)
    except KeyboardInterrupt:
        say("headstream studio: ended")
    finally:
        listener.close()
    return 0


def need_studio() -> None:
    """Raise UsageError where the packages of the extra are missing."""
    missing = [name for name in ("starlette", "uvicorn", "websockets") if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(f"this needs {', '.join(missing)}: pip install 'headstream[studio]'")
