"""Catalogues of gettext for tests: written as msgfmt would, loaded, and forgotten again."""

from __future__ import annotations

import ast
import re
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from forge_min import i18n

HEAD = "Content-Type: text/plain; charset=UTF-8\n"


def write_catalogue(folder: Path, language: str, messages: Mapping[str, str]) -> Path:
    """<folder>/<language>/LC_MESSAGES/messages.mo (GNU gettext manual, "The Format of GNU MO
    Files").
    """
    pairs = sorted((k.encode(), v.encode()) for k, v in {"": HEAD, **messages}.items())
    texts = [key for key, _ in pairs] + [value for _, value in pairs]
    tables, data, start = b"", b"", 28 + 16 * len(pairs)
    for item in texts:
        tables += struct.pack("<II", len(item), start + len(data))
        data += item + b"\0"
    head = struct.pack("<7I", 0x950412DE, 0, len(pairs), 28, 28 + 8 * len(pairs), 0, 28)
    file = folder / language / "LC_MESSAGES" / "messages.mo"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(head + tables + data)
    return file


def msgids(template: str) -> list[str]:
    """Read as gettext's manual describes the format: C strings, one after the other, are one."""
    found = []
    for entry in template.split("\n\n"):
        match = re.search(r'^msgid ((?:".*"\n?)+)^msgstr ""', entry, re.MULTILINE)
        assert match, entry
        found.append("".join(map(ast.literal_eval, match[1].rstrip("\n").split("\n"))))
    return found


@contextmanager
def catalogues(folder: Path, languages: Mapping[str, Mapping[str, str]]) -> Iterator[None]:
    """The process knows these languages inside the block, and English only after it."""
    for language, messages in languages.items():
        write_catalogue(folder, language, messages)
    i18n.load(folder)
    try:
        yield
    finally:
        i18n.load(folder / "none")
