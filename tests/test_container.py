"""The container's recipe, where there is no Docker: what it names is there, and is what README, the doctor and pyproject name."""

from __future__ import annotations

import json
import re
import sys
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

from headstream.shared.libraries import SYSTEM_LIBRARIES

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
RECIPE = ROOT / "Dockerfile"

if not RECIPE.exists():  # a source distribution has none
    pytest.skip("needs the repository", allow_module_level=True)


def steps() -> list[tuple[str, str]]:
    """(instruction, arguments), each in one line."""
    text = re.sub(r"(?m)^\s*#.*\n", "", RECIPE.read_text(encoding="utf-8")).replace("\\\n", " ")
    parts = (line.partition(" ") for line in text.splitlines() if line.strip())
    return [(name, " ".join(rest.split())) for name, _, rest in parts]


def of(instruction: str) -> list[str]:
    return [rest for name, rest in steps() if name == instruction]


def ignored(path: str) -> bool:
    """Whether .dockerignore keeps a path at the root out: the last line that fits decides."""
    verdict = False
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        pattern = line.strip().removeprefix("!")
        if pattern and not pattern.startswith("#") and fnmatch(path, pattern):
            verdict = not line.startswith("!")
    return verdict


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_what_is_copied_is_there_and_not_ignored() -> None:
    copied = [word for rest in of("COPY") if not rest.startswith("--from") for word in rest.split()[:-1]]
    assert {"pyproject.toml", "constraints.txt"} <= set(copied)
    for name in copied:
        assert (ROOT / name).exists()
        assert name == "." or not ignored(name)


def test_all_that_is_installed_reaches_the_build_and_nothing_else_does() -> None:
    settings = project()
    wheel = settings["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {
        *wheel["packages"],
        *wheel["force-include"],
        settings["project"]["readme"],
        "pyproject.toml",
        "constraints.txt",
    }
    needed |= set(settings["project"]["license-files"])
    assert {entry.name for entry in ROOT.iterdir() if not ignored(entry.name)} == needed
    assert ignored("talk.mp4")


def test_an_empty_package_stands_in_for_the_program_while_the_dependencies_are_installed() -> None:
    settings = project()
    made = next(rest for rest in of("RUN") if "pip install -c" in rest)
    wheel = settings["tool"]["hatch"]["build"]["targets"]["wheel"]
    for name in (
        *wheel["packages"],
        *wheel["force-include"],
        settings["project"]["readme"],
        *settings["project"]["license-files"],
    ):
        assert re.search(rf"(mkdir|touch) [^&]*\b{re.escape(name)}\b", made), name
    assert settings["tool"]["hatch"]["version"]["path"] in made


def test_system_libraries_are_those_that_are_told_of() -> None:
    named = re.search(r"apt-get install -y --no-install-recommends ([^&]+?) &&", " ".join(of("RUN")))
    assert named
    assert f"apt install {named[1]}" == SYSTEM_LIBRARIES
    assert SYSTEM_LIBRARIES in (ROOT / "README.md").read_text(encoding="utf-8")


def test_its_python_is_one_that_headstream_runs_on() -> None:
    version = re.match(r"python:(\d+)\.(\d+)-slim-", of("FROM")[0])
    assert version
    least, below = re.findall(r"3\.(\d+)", project()["project"]["requires-python"])
    assert version[1] == "3"
    assert int(least) <= int(version[2]) < int(below)


def test_the_program_itself_gets_the_signals_and_is_nobodys_root() -> None:
    (entry,) = of("ENTRYPOINT")
    assert json.loads(entry) == ["headstream"]  # a list: with a shell in between, that would get them
    assert "headstream" in project()["project"]["scripts"]
    (user,) = of("USER")
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)  # Kubernetes' runAsNonRoot wants numbers


@pytest.mark.parametrize("page", ["README.md", "docs/batch.md"])
def test_the_extras_that_are_spoken_of_exist(page: str) -> None:
    text = RECIPE.read_text(encoding="utf-8") + (ROOT / page).read_text(encoding="utf-8")
    extras = {name for names in re.findall(r"EXTRAS=([a-z,]+)", text) for name in names.split(",")}
    assert extras
    assert extras <= set(project()["project"]["optional-dependencies"])
