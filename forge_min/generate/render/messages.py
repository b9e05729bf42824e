"""gen/messages.pot: every text that a project shows, in gettext's template format.

The library's own messages first, then what the schemas say, each with the places it comes from: a
label, or what a page makes of a name without one.
(GNU gettext manual, section 3: The Format of PO Files.)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...data import files
from ...parse.ir import ResourceIR
from ...text import spoken

_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def messages(resources: Sequence[ResourceIR]) -> str:
    """The file's text, the same for the same schemas."""
    package = files(__package__.partition(".")[0])
    library = (package / "messages.pot").read_text(encoding="utf-8").strip()
    places: dict[str, dict[str, None]] = {}  # text → where it stands, a set in order
    for resource in resources:
        for text, line in _texts(resource):
            places.setdefault(_escaped(text), {})[f"#: {resource.source}:{line}"] = None
    parts = [library]
    for text, where in places.items():
        if f'msgid "{text}"\n' not in library:
            parts.append("\n".join([*where, f'msgid "{text}"', 'msgstr ""']))
    return "\n\n".join(parts) + "\n"


def _texts(resource: ResourceIR) -> Iterator[tuple[str, int]]:
    line = resource.span.line
    yield from ((spoken(name), line) for name in (resource.table, resource.folder))
    for member in resource.members:
        found = [member.label or spoken(member.name), member.placeholder]
        found += [member.help, *member.choices]
        yield from ((text, member.span.line) for text in found if text)
    yield from ((spoken(many.name), many.span.line) for many in resource.many)
    yield from ((spoken(column.name), line) for column in resource.columns if not column.declared)


def _escaped(text: str) -> str:
    return "".join(_ESCAPES.get(c) or (c if c >= " " else f"\\{ord(c):03o}") for c in text)
