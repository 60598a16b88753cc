"""ONNX Runtime, told to keep to itself."""

from __future__ import annotations

import os
from typing import Any


def onnx_runtime() -> Any:
    """The package. To be called before anything of it is imported: from 1.29 on it reports to its makers on Linux, too, some
    seconds after its start, and its own ``disable_telemetry_events`` comes too late for what it notes while it loads."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read when it is imported
    import onnxruntime

    onnxruntime.disable_telemetry_events()  # for those who had imported it before; and on Windows
    return onnxruntime
