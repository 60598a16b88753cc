"""Libraries that do not load: which, why, and how to get them."""

from __future__ import annotations

import importlib.metadata
import re

SYSTEM_LIBRARIES = "apt install libgl1 libegl1 libgles2 libglib2.0-0"
_HELD_BY_THOSE = (
    "libGL.",
    "libGLX.",
    "libGLdispatch.",
    "libEGL.",
    "libGLES",
    "libglib-2",
    "libgthread-2",
    "libX11.",
    "libxcb.",
)
_LACKING = re.compile(r"(lib[\w.+-]+\.so[.\d]*): cannot open shared object file")
# What is imported by another name than it is installed by.
_INSTALLED_AS = {"cv2": "opencv-contrib-python", "PIL": "pillow", "pi_heif": "pi-heif"}
_BETWEEN = {"importlib", "_frozen_importlib", "_frozen_importlib_external"}


def remedy(error: BaseException, module: str = "") -> str:
    """One line for a person: which library does not load, why, and how to get it.

    error: what importing raised: ImportError, or OSError of a native library.  module: whose import it was, where that is known.
    """
    library = module or _imported(error)
    why = " ".join(str(error).split()) or type(error).__name__
    return f"{library or 'a library'} does not load ({why}); {_advice(error, library)}"


def _advice(error: BaseException, library: str) -> str:
    if lacking := _LACKING.search(str(error)):
        if lacking[1].startswith(_HELD_BY_THOSE):
            return f"a bare Linux lacks what it needs; on Debian and Ubuntu: {SYSTEM_LIBRARIES}"
        return f"install the system's package that holds {lacking[1]}"
    if isinstance(error, ModuleNotFoundError):
        missing = _imported(error)
        return f"pip install '{_wanted(_INSTALLED_AS.get(missing, missing))}'"
    name = _INSTALLED_AS.get(library, library)
    if not name:  # for which Python 3.10 finds a package
        return "install headstream anew, as its README says"
    try:
        return f"pip install --force-reinstall --no-deps '{name}=={importlib.metadata.version(name)}'"
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return "install headstream anew, as its README says"


def _imported(error: BaseException) -> str:
    """The package that was being imported; "" where nothing tells. Native ones often leave the error's name out."""
    name = getattr(error, "name", None)
    if name:
        return str(name).split(".")[0]
    found, step = "", error.__traceback__
    while step is not None:
        package = str(step.tb_frame.f_globals.get("__name__", "")).split(".")[0]
        if package == "headstream":
            found = ""
        elif not found and package not in _BETWEEN:
            found = package
        step = step.tb_next
    return found


def _wanted(name: str) -> str:
    """A distribution with the versions headstream takes, like mediapipe==0.10.33."""
    try:
        needed = importlib.metadata.requires("headstream") or []
    except importlib.metadata.PackageNotFoundError:  # run from its folder without being installed
        needed = []
    for requirement in (line.partition(";")[0].strip() for line in needed):
        if re.split(r"[^\w.-]", requirement, maxsplit=1)[0].lower() == name.lower():
            return requirement
    return name
