"""Generated files without a folder. No tests."""

from __future__ import annotations

from collections.abc import Sequence

from forge_min.generate.render import render
from forge_min.parse import ResourceIR


def rendered(resources: Sequence[ResourceIR]) -> dict[str, str]:
    """Path below gen/ → text."""
    return render(sorted(resources, key=lambda resource: resource.folder), {})
