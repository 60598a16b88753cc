"""headstream doctor"""

from __future__ import annotations

import dataclasses

from headstream.cli.console import emit_json
from headstream.cli.options import JsonOption


def doctor(json: JsonOption = False) -> int:
    """Check this installation and say what is missing. Versions, devices, codecs, weights with their checksums."""
    from headstream import __version__
    from headstream.doctor import examine

    findings = examine()
    broken = [f for f in findings if f.state == "broken"]
    if json:
        rows = [dataclasses.asdict(f) for f in findings]
        emit_json({"version": __version__, "ok": not broken, "findings": rows})
    else:
        print(f"headstream {__version__}")
        width = max(len(finding.name) for finding in findings)
        for finding in findings:
            print(f"{finding.state:8} {finding.topic:8} {finding.name:{width}} {finding.note}")
        print("all that the main job needs is here" if not broken else f"{len(broken)} broken, see above")
    return 1 if broken else 0
