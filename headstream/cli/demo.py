"""headstream demo"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from headstream.cli.console import emit_json, progress_bar, say
from headstream.cli.options import DeviceOption, JsonOption, ModelOption


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the results.")] = Path("headstream-demo"),
    model: ModelOption = "default",
    device: DeviceOption = "auto",
    json: JsonOption = False,
) -> int:
    """Cut a sample clip, to see that it works. It is made here, 3 s of a portrait; says where alpha video and PNG are."""
    from headstream.api import cut_image
    from headstream.cli.video import as_json
    from headstream.demo import PORTRAIT, make_clip, viewer_page
    from headstream.films.video import VideoJob, cut_video_file
    from headstream.segment.load import load_segmenter
    from headstream.sinks.partial import whole_file
    from headstream.sinks.photo import check_folder, write_photo

    check_folder(out)
    load_segmenter(model, device=device)  # before any work, for what is wrong there
    portrait, clip, cut, page = (out / n for n in ("portrait.jpg", "portrait.mp4", "head.webm", "view.html"))
    with whole_file(portrait) as part:
        shutil.copyfile(PORTRAIT, part)
    say("1/3 making a 3 s clip from a portrait (NASA, public domain)")
    with progress_bar("making") as progress, whole_file(clip) as part:
        make_clip(part, progress)
    say("2/3 cutting the head out of the clip")
    with progress_bar("cutting") as progress:
        report = cut_video_file(VideoJob(clip, cut, model=model, device=device), progress)
    say(
        f"    {report.frames_out} frames, {report.frames_with_head} with a head, "
        f"{report.fps:.0f} frames/s with {report.model} on {report.device}"
    )
    heads = []
    if not report.interrupted:
        say("3/3 cutting the head out of the portrait")
        heads = cut_image(portrait, heads="largest", model=model, device=device)
    results = [portrait, clip, *report.outputs]
    if heads and not report.interrupted:
        results += write_photo(out, heads[0].rgba(), heads[0].alpha, [])
        with whole_file(page) as part:
            part.write_text(viewer_page(clip.name, cut.name, "head_only.png"), encoding="utf-8")
        results.append(page)
    if json:
        emit_json(as_json(report) | {"outputs": [str(path) for path in results]})
    if not heads or report.interrupted:
        say("headstream: the demo was interrupted" if report.interrupted else "headstream: no head was found")
        return 130 if report.interrupted else 3
    say(f"\nresults in {out.resolve()}")
    say(f"  {cut.name:14} the head with transparency and sound (VP9)")
    say("  head_only.png  the head of the portrait; full_mask.png its mask")
    say(f"  {page.name:14} both on a checkerboard: open it in Chrome, Edge or Firefox")
    say("next: headstream video YOUR.mp4 --out head.mov     (ProRes 4444, for editors)")
    say("      headstream image YOUR.jpg --out cut/")
    return 0
