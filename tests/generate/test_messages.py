"""gen/messages.pot: every text of the schemas once, beside the library's."""

from __future__ import annotations

import ast
import re
from importlib.resources import files
from pathlib import Path

from forge_min.parse import parse_project

from ..parse.helpers import resource
from .helpers import rendered

TESTS = Path(__file__).parents[1]


def msgids(template: str) -> list[str]:
    """Read as gettext's manual describes the format: C strings, one after the other, are one."""
    found = []
    for entry in template.split("\n\n"):
        match = re.search(r'^msgid ((?:".*"\n?)+)^msgstr ""', entry, re.MULTILINE)
        assert match, entry
        found.append("".join(map(ast.literal_eval, match[1].rstrip("\n").split("\n"))))
    return found


def test_every_text_of_the_schemas_is_there_once_with_its_place() -> None:
    resources = parse_project(TESTS / "wide").resources
    template = rendered(resources)["messages.pot"]
    found = msgids(template)
    assert len(found) == len(set(found))
    wanted = {"", "Name of the account", 'As on the "invoice".', "Fjord & Co.", "it's out", "paid"}
    assert wanted <= set(found)
    assert re.search(r'#: resources/account/schema.py:\d+\nmsgid "Name of the account"', template)
    library = msgids((files("forge_min") / "messages.pot").read_text().strip())
    assert found[: len(library)] == library


def test_a_text_that_the_library_has_too_and_hostile_ones_are_one_message_each() -> None:
    library = msgids((files("forge_min") / "messages.pot").read_text().strip())
    nasty = '" \\ \n \t \x07 \x7f ${x} é \u2028 #: msgid ""'
    thing = resource(
        f'schema.string("a", label={library[1]!r}, help={nasty!r})',
        f'schema.string("b", label={nasty!r}, help={nasty!r})',
    )
    found = msgids(rendered([thing])["messages.pot"])
    assert sorted(found) == sorted([*library, nasty])
