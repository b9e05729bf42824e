"""The parts of forge_min that a project does not use, and that its artifact leaves out.

No code of the project is executed: a part is left out only if no Python or SQL file of the project
has a word by which it could be used. Words in comments and strings count too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

FILES = {
    "account pages": {
        "html/account": "administration pages",
        "html/templates": "account idle invite keys password people person resume secret sign_in"
        " tenants",
    },
    "jobs page": {"admin": "jobs assets/jobs", "admin/templates": "job jobs queues"},
    "resource pages": {
        "html": "cells columns form form_page home inputs record report resource row_pages states"
        " titles",
        "html/lists": "filters list_page many_rows selection",
        "html/templates": "chart delete form home list outcome report selection show states",
    },
}
"""The names of files, by part and folder."""
_WORDS = {"account pages": rb"signs?_in|account.?pages", "jobs page": rb"job|periodic"}


def unused_parts(project: Mapping[str, bytes]) -> list[str]:
    """Return the names of the parts that the project does not use, sorted.

    project: its members by name: app.py, gen/, resources/, migrations, and all imported modules.
    """
    names = []
    contents = []
    for name, data in project.items():
        if name.endswith((".py", ".sql")):
            names.append(name.encode())
            contents.append(data)
    text = b"\n".join(names + contents)
    unused = [part for part, words in _WORDS.items() if not re.search(words, text, re.IGNORECASE)]
    if not _has_resource_pages(text):
        unused.append("resource pages")
    return unused


def files_of(*parts: str) -> tuple[str, ...]:
    """Return the beginnings of the names of the files of these parts."""
    files = []
    for part in parts:
        for folder, names in FILES[part].items():
            files += [f"forge_min/{folder}/{name}." for name in names.split()]
    return tuple(files)


def without(parts: list[str], package: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the members of forge_min that do not belong to these parts."""
    files = files_of(*parts)
    return {name: data for name, data in package.items() if not name.startswith(files)}


def _has_resource_pages(text: bytes) -> bool:
    """Return False only if the text has one call of App, which is `App(resource_pages=False)`.

    Another name for App, and a further `resource_pages`, count as a use.
    """
    imports_html = rb"\bApp\s+as\b|forge_min\.html|forge_min\s+import[^;]*\bhtml\b"
    if text.count(b"resource_pages") != 1 or re.search(imports_html, text):
        return True
    calls = re.findall(rb"\bApp\s*\(([^)]*)", text)
    if len(calls) != 1:
        return True
    return re.sub(rb"[\s,]", b"", calls[0]) != b"resource_pages=False"
