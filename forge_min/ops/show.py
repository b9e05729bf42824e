"""config and version: what this site runs with. Secrets are masked."""

from __future__ import annotations

import json
import platform
from typing import Any

from .. import __version__, fanout
from .project import Project


def show_config(project: Project, *, sources: bool = False, as_json: bool = False) -> int:
    """Every key with its value; with `sources` also where it came from."""
    values, known = project.config.masked(), project.config.sources
    if as_json:
        both = {key: {"value": v, "source": known[key]} for key, v in values.items()}
        print(json.dumps(both if sources else values, default=str))
        return 0
    for key, value in values.items():
        line = f"{key} = {json.dumps(value, default=str)}"
        print(f"{line:60}  # {known[key]}" if sources else line)
    return 0


def show_version(build: dict[str, Any], *, as_json: bool = False) -> int:
    """forge_min, Python, which core runs, and of an artifact its version and commit."""
    facts = {"forge_min": __version__, "python": platform.python_version(), "core": fanout.IMPL}
    facts |= {k: build[k] for k in ("name", "version", "commit", "date") if k in build}
    print(json.dumps(facts) if as_json else "\n".join(f"{k}: {v}" for k, v in facts.items()))
    return 0
