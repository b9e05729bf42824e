"""config and version: what this site runs with. Secrets are masked."""

from __future__ import annotations

import json
import platform
from typing import Any

from .. import __version__, fanout
from ..config import Config
from .door import tell, warn


def show_config(config: Config, *, sources: bool = False, as_json: bool = False) -> int:
    """Every key with its value; with `sources` also where it came from."""
    values, known = config.masked(), config.sources
    lines = {key: f"{key} = {json.dumps(value, default=str)}" for key, value in values.items()}
    if sources:
        lines = {key: f"{line:60}  # {known[key]}" for key, line in lines.items()}
        values = {key: {"value": v, "source": known[key]} for key, v in values.items()}
    tell(values, lines.values(), as_json=as_json)
    for warning in config.warnings:
        warn(warning)
    return 0


def show_version(build: dict[str, Any], *, as_json: bool = False) -> int:
    """forge_min, Python, which core runs, and of an artifact its version and commit."""
    facts = {"forge_min": __version__, "python": platform.python_version(), "core": fanout.IMPL}
    facts |= {k: build[k] for k in ("name", "version", "commit", "date") if k in build}
    tell(facts, (f"{name}: {fact}" for name, fact in facts.items()), as_json=as_json)
    return 0
