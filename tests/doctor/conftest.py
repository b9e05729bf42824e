"""A site as doctor is handed one, and what it finds by code."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from forge_min.app import App, ProjectCode
from forge_min.config import inspect
from forge_min.doctor import Finding, Site
from forge_min.errors import ForgeError

MakeSite = Callable[..., Site]


def loaded(register: Callable[..., Any], app: App | None = None) -> ProjectCode:
    """The code of a project with this function of gen/registry.py."""
    return ProjectCode(app or App(), inspect(None, {})[0], Path(), register)


def nothing() -> ProjectCode:
    raise ForgeError("there is no generated code here", code="F531")


@pytest.fixture
def make_site() -> MakeSite:
    """make_site(url, {"sse.max_connections": 1}, profile="prod", ...); defaults for the rest."""

    def make(
        url: str = "", settings: Mapping[str, Any] | None = None, env: str = "", **more: Any
    ) -> Site:
        config, mistakes = inspect(None, {"FORGE_DATABASE_URL": url} if url else {})
        values = {**config.values, **(settings or {})}
        given: dict[str, Any] = {
            "profile": "dev", "sources": config.sources, "mistakes": mistakes,
            "warnings": config.warnings, "root": None,
            "artifact": None, "native": None, "build": {}, "code": nothing,
        }  # fmt: skip
        return Site(env=env or config.env, settings=values, **(given | more))

    return make


def states(found: Iterable[Finding]) -> dict[str, str]:
    """Code → the worst state that it was found in."""
    rank = ("ok", "skipped", "warning", "failed")
    worst: dict[str, str] = {}
    for one in found:
        worst[one.code] = max(worst.get(one.code, "ok"), one.state, key=rank.index)
    return worst


def of(found: Iterable[Finding], code: str) -> Finding:
    """The only finding of this code."""
    (one,) = [one for one in found if one.code == code]
    return one


def folder_state(root: Path) -> dict[str, tuple[bytes, int, int]]:
    """Every file with its content, its mode and its time."""
    return {
        str(path.relative_to(root)): (
            path.read_bytes() if path.is_file() else b"",
            path.stat().st_mode,
            path.stat().st_mtime_ns,
        )
        for path in sorted(root.rglob("*"))
    }
