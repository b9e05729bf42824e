"""How Sphinx renders the manual (`make docs`)."""

import os
import re
from pathlib import Path
from typing import Any

import forge_min

project = "forge_min"
release = forge_min.__version__
extensions = ["myst_parser"]
myst_heading_anchors = 4
exclude_patterns = ["reference.py"]
smartquotes = False  # commands are copied as they are

html_theme = "furo"
html_title = f"forge_min {release}"
html_copy_source = html_show_sourcelink = False
html_use_index = False
html_show_search_summary = False  # it fetches each page, which browsers refuse for file://
html_static_path = ["theme.js"]

# Furo's inline script, which no Content-Security-Policy of forge_min allows.
_SCRIPT = re.compile(r"<script>\s*document\.body\.dataset\.theme.*?</script>", re.DOTALL)
# What screen readers and keyboards need: names of headings and regions, and focus for tables that
# scroll (WCAG 2.2, 1.3.1 and 2.1.1).
_LABELS = {
    'class="caption" role="heading"': 'class="caption" role="heading" aria-level="2"',
    '<aside class="sidebar-drawer">': '<aside class="sidebar-drawer" aria-label="Manual">',
    '<aside class="toc-drawer">': '<aside class="toc-drawer" aria-label="This page">',
    '<div class="table-wrapper ': '<div tabindex="0" class="table-wrapper ',
    "<pre>": '<pre tabindex="0">',
}


def finish_pages(app: Any, error: Exception | None) -> None:
    """Complete the pages that Furo has written, and remove files that no browser loads."""
    for pattern in ("*.map", "objects.inv", ".buildinfo"):
        for path in Path(app.outdir).rglob(pattern):
            path.unlink()
    for path in Path(app.outdir).rglob("*.html"):
        script = os.path.relpath(Path(app.outdir, "_static", "theme.js"), path.parent)
        text = _SCRIPT.sub(f'<script src="{script}"></script>', path.read_text(encoding="utf-8"))
        for old, new in _LABELS.items():
            text = text.replace(old, new)
        path.write_text(text, encoding="utf-8")


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("build-finished", finish_pages)
