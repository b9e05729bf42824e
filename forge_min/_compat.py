"""Names of earlier versions that still work. No layer rule applies to this file.

Generated code imports MODULES; an upgrade needs no `generate`, so they stay without limit. The
other names were typed by people: they stay for one release and warn.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType
from warnings import warn

MODULES = {
    "forge_min.wsgi.api": "forge_min.api.resource",
    "forge_min.wsgi.html": "forge_min.wsgi.markup",
}
"""Old module: new module. Imports of the old name return the new module."""

RENAMED_MODULES = {"forge_min.text": "forge_min.i18n"}
"""As MODULES, with a DeprecationWarning."""

RENAMED = {
    "forge_min.jobs.Client": "JobClient",
    "forge_min.app.Running": "Runtime",
    "forge_min.jobs.Job.given": "raw_args",
    "forge_min.testing.Answer": "ClientResponse",
    "forge_min.app.App.identifies": "authenticator",
    "forge_min.app.App.renews": "revalidate_identity",
    "forge_min.app.App.sends_reset": "password_reset_sender",
    "forge_min.observe.note": "add_log_fields",
}
"""Old name in its module or class: new name there."""

REMOVED_KEYS = ("server.gather", "server.pin_threads")
"""Configuration keys that have no effect any more: they only cause a warning."""


def renamed(owner: str, name: str) -> str:
    """Return the new name of an attribute of a module or class, for its `__getattr__`.

    Warns with DeprecationWarning. Raises AttributeError unless the name is in RENAMED.
    """
    new = RENAMED.get(f"{owner}.{name}")
    if new is None:
        raise AttributeError(f"{owner} has no attribute {name!r}")
    warn(f"{owner}.{name} is now called {new}", DeprecationWarning, stacklevel=3)
    return new


class OldModules:
    """The importer of old modules (a meta path finder and loader), asked after all others."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return how to import an old module, None for any other."""
        if name in MODULES or name in RENAMED_MODULES:
            return ModuleSpec(name, self)  # type: ignore[arg-type]
        return None

    def create_module(self, spec: ModuleSpec) -> None:
        """Leave the creation to Python: `exec_module` replaces the module."""

    def exec_module(self, module: ModuleType) -> None:
        """Put the new module in the place of the old one."""
        old = module.__name__
        if old in RENAMED_MODULES:
            warn(f"{old} is now called {RENAMED_MODULES[old]}", DeprecationWarning, stacklevel=2)
        sys.modules[old] = import_module(MODULES.get(old) or RENAMED_MODULES[old])


def install() -> None:
    """Make the old modules importable. Called once, by the package itself."""
    sys.meta_path.append(OldModules())
