"""Names of earlier versions that still work, in two lists. No layer rule applies to this file.

Generated code imports MODULES; an upgrade needs no `generate`, so they stay without limit.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType

MODULES = {
    "forge_min.wsgi.api": "forge_min.api.resource",
    "forge_min.wsgi.html": "forge_min.wsgi.markup",
}
"""Old module: new module. Imports of the old name return the new module, without a warning."""


class OldModules:
    """The importer of MODULES (a meta path finder and loader), asked after all others."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return how to import an old module, None for any other."""
        return ModuleSpec(name, self) if name in MODULES else None  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> None:
        """Leave the creation to Python: `exec_module` replaces the module."""

    def exec_module(self, module: ModuleType) -> None:
        """Put the new module in the place of the old one."""
        sys.modules[module.__name__] = import_module(MODULES[module.__name__])


def install() -> None:
    """Make the old modules importable. Called once, by the package itself."""
    sys.meta_path.append(OldModules())
