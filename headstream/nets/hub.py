"""Weights on the Hugging Face hub: which commit a name means, and where the files of that commit lie.

A name without a revision means another commit when its owner uploads another. What is cut must not change in the middle
for that, so a name is turned into a commit once, and the commit goes wherever weights are told apart.
"""

from __future__ import annotations

import logging
import os
import re
from dataclasses import dataclass
from pathlib import Path

from headstream.errors import ModelError, UsageError

WEIGHTS = "diffusion_pytorch_model.safetensors"
_FILES = ("config.json", WEIGHTS)
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+(@[\w./-]+)?")
_PATIENCE_S = 15  # for the hub's first answer
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Snapshot:
    """The files of one commit. name: owner/name.  folder: in the hub's cache."""

    name: str
    commit: str
    folder: Path


def is_hub_name(name: str) -> bool:
    """Whether this can be owner/name or owner/name@revision."""
    return _NAME.fullmatch(name) is not None


def snapshot(name: str) -> Snapshot:
    """The files of ``name``, "owner/name" or "owner/name@revision": from the hub's cache, else from the hub.

    What was fetched once is used without asking anyone again. Raises ModelError, UsageError.
    """
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # read when the client is imported
    try:
        import huggingface_hub
    except ImportError as error:
        raise UsageError(f"model {name} is on the hub, which needs: pip install 'headstream[torch]'") from error
    label, _, revision = name.partition("@")
    try:
        return _files(label, revision or None, local_files_only=True)
    except (OSError, ValueError):  # the client's ways to say that it is not there
        pass
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}:
        raise ModelError(
            f"model {name} is not in the hub's cache and HF_HUB_OFFLINE is set; fetch it once without, or name a folder"
        )
    log.warning("model %s is not in the hub's cache: asking the Hugging Face hub for it", name)
    try:
        # One request, which the client does not repeat, tells whether there is a hub and such weights.
        huggingface_hub.HfApi().model_info(label, revision=revision or None, timeout=_PATIENCE_S)
        return _files(label, revision or None, local_files_only=False)  # the cache notes which commit the revision is
    except Exception as error:  # the hub's client raises many classes, of several libraries
        raise ModelError(
            f"model {name} is not in the cache and could not be fetched from the hub; without a network, copy its folder "
            f"here and name that ({' '.join(str(error).split())[:200]})"
        ) from error


def _files(label: str, revision: str | None, *, local_files_only: bool) -> Snapshot:
    """Both files, of one commit: a branch may move between the two."""
    from huggingface_hub import hf_hub_download

    folder = None
    for file in _FILES:
        path = Path(hf_hub_download(label, file, revision=revision, local_files_only=local_files_only))
        folder = path.parent  # .../snapshots/COMMIT
        revision = folder.name
    assert folder is not None
    return Snapshot(label, folder.name, folder)
