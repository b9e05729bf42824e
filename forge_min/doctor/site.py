"""The input of doctor: one site as plain values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from .finding import State

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    from ..app import ProjectCode

Profile = Literal["dev", "prod"]


@dataclass(frozen=True, slots=True)
class Site:
    """One site. doctor reads no configuration itself.

    profile: the checked environment, whatever `env`, FORGE_ENV, is.
    settings: every value by "section.key"; a value that cannot be read has its default, and its
    error is in `mistakes`.
    sources: where each value comes from, as of `Config`.
    warnings: the warnings of the loader.
    root: the project, in a folder or in a zip, or None.
    artifact: the file or folder of an artifact.
    native: the folder from which its compiled parts load.
    build: its build info.
    code: loads the project's code, and raises any error of that.
    hosts: number of machines that run it.
    """

    profile: Profile
    env: str
    settings: Mapping[str, Any]
    sources: Mapping[str, str]
    mistakes: Sequence[Exception]
    warnings: Sequence[str]
    root: Traversable | None
    artifact: Path | None
    native: Path | None
    build: Mapping[str, Any]
    code: Callable[[], ProjectCode]
    hosts: int = 1

    @property
    def prod(self) -> bool:
        """Whether it is checked as a production site."""
        return self.profile == "prod"

    @property
    def if_unsafe(self) -> State:
        """The state of a setting that is unsafe anywhere: failed in production, else a warning."""
        return "failed" if self.prod else "warning"

    @property
    def if_unusual(self) -> State:
        """The state of a setting that is unsafe only in production: a warning there, else ok."""
        return "warning" if self.prod else "ok"
