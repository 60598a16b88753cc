"""ONNX Runtime, told to keep to itself."""

from __future__ import annotations

import contextlib
import functools
import io
import logging
import os
from typing import Any

log = logging.getLogger(__name__)


def onnx_runtime() -> Any:
    """The package. To be called before anything of it is imported: from 1.29 on it reports to its makers on Linux, too, some
    seconds after its start, and its own ``disable_telemetry_events`` comes too late for what it notes while it loads."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read when it is imported
    import onnxruntime

    onnxruntime.disable_telemetry_events()  # for those who had imported it before; and on Windows
    return onnxruntime


@functools.cache
def load_cuda() -> None:
    """Load CUDA and cuDNN from where pip has put them: ONNX Runtime (from 1.21 on) looks there only when it is asked to."""
    preload = getattr(onnx_runtime(), "preload_dlls", None)
    if preload is None:
        return
    with contextlib.redirect_stdout(io.StringIO()) as said:  # where --json belongs
        preload()
    if said.getvalue():
        log.info("CUDA's libraries: %s", " ".join(said.getvalue().split()))
