"""The part of forge_min that an artifact carries: ground and RUN ladder, nothing that builds."""

from __future__ import annotations

import json
import tomllib
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

from ...data import JSON

# tests/test_house.py compares these with the ladders of the house.
CARRIED = frozenset(
    ("__init__", "errors", "text", "data", "config", "manifest", "fanout", "_fanout_py")
    + ("observe", "db", "notify", "auth", "jobs", "sse", "actions", "wsgi", "admin", "app")
    + ("ops", "doctor", "entry")
)
_SUFFIXES = frozenset({".py", ".sql", ".toml", ".html", ".css", ".js", ".json", ".yml"})


def package_root() -> Path:
    """The folder of the package that builds: installed, a checkout, or a project's `_vendor/`."""
    return Path(__file__).resolve().parents[2]


def package_members(root: Path) -> dict[str, bytes]:
    """The files below `root` by name inside the artifact; its core, if any, in `_native/`."""
    found: dict[str, bytes] = {}
    for path in sorted(root.rglob("*")):
        parts = path.relative_to(root).parts
        room = parts[0].partition(".")[0]
        wanted = room in CARRIED or parts == ("codes.toml",)
        if wanted and path.suffix in _SUFFIXES and path.is_file():
            name, data = "/".join(("forge_min", *parts)), path.read_bytes()
            found[name] = data
            if path.suffix == ".toml":  # what data.table reads
                found[name + JSON] = json.dumps(tomllib.loads(data.decode())).encode()
    core = compiled_core(root)
    if core is not None:
        found[f"_native/forge_min/{core.name}"] = core.read_bytes()
    return found


def compiled_core(root: Path) -> Path | None:
    """The compiled `_fanout` that this Python would load from the folder, or None."""
    candidates = [root / f"_fanout{suffix}" for suffix in EXTENSION_SUFFIXES]
    return next((path for path in candidates if path.is_file()), None)
