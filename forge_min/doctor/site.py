"""What doctor is handed: one site as plain values. It reads no configuration itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from .finding import State

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    from ..app import App, Generated

Profile = Literal["dev", "prod"]


@dataclass(frozen=True, slots=True)
class Site:
    """profile: what is asked for, whatever `env`, FORGE_ENV, says. settings: every value by
    "section.key"; one that could not be read has its default, and its error is in `mistakes`.
    sources: where each value is from, as of `Config`. warnings: what the loader warns of. root: the
    project, in a folder or in a zip; None where there is none. artifact: the file or folder of an
    artifact. native: where its compiled parts load from. build: its build info. code: loads the
    project's code; raises what that raises.
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
    code: Callable[[], tuple[App, Generated]]

    @property
    def prod(self) -> bool:
        """Whether it is asked for as a production site."""
        return self.profile == "prod"

    @property
    def if_unsafe(self) -> State:
        """Of what is bad anywhere, and not to be borne in production."""
        return "failed" if self.prod else "warning"

    @property
    def if_unusual(self) -> State:
        """Of what is as it should be, but in production."""
        return "warning" if self.prod else "ok"
