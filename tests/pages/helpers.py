"""Compile and run a page from text. No tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from forge_min.errors import BuildError
from forge_min.pages import compile_page
from forge_min.pages.tokens import PageSource


def page(source: str, **files: str) -> Callable[..., str]:
    """The render function of a page; files: base for base.html and so on."""

    def load(name: str) -> PageSource | None:
        text = files.get(name.removesuffix(".html"))
        return None if text is None else PageSource(name, text)

    space: dict[str, Any] = {}
    compiled = compile_page(PageSource("page.html", source), "page", load)
    exec(compile(compiled, "page.py", "exec"), space)  # noqa: S102
    render: Callable[..., str] = space["render"]
    return render


def refused(source: str, **files: str) -> BuildError:
    """The error of a page that must not compile."""
    with pytest.raises(BuildError) as caught:
        page(source, **files)
    return caught.value
