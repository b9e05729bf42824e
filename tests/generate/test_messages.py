"""gen/messages.pot: every text of the schemas once, beside the library's."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from forge_min.parse import parse_project

from catalogues import msgids

from ..parse.helpers import resource
from .helpers import rendered

TESTS = Path(__file__).parents[1]


def test_every_text_of_the_schemas_is_there_once_with_its_file() -> None:
    resources = parse_project(TESTS / "wide").resources
    template = rendered(resources)["messages.pot"]
    found = msgids(template)
    assert len(found) == len(set(found))
    wanted = {"", "Name of the account", 'As on the "invoice".', "Fjord & Co.", "it's out", "paid"}
    assert wanted <= set(found)
    assert '#: resources/account/schema.py\nmsgid "Name of the account"' in template
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
    names = {"Things", "Thing", "Id", "Version"}  # what pages make of names without a label
    assert sorted(found) == sorted({*library, nasty, *names})


def test_what_pages_make_of_names_without_a_label_is_there_too() -> None:
    thing = resource(
        "schema.timestamps()",
        "schema.soft_delete()",
        'schema.string("serial_number")',
        'schema.string("b", label="Bought in")',
        'schema.belongs_to("Thing", "made_of")',
        'schema.has_many("Thing", "parts", via="made_of")',
    )
    found = set(msgids(rendered([thing])["messages.pot"]))
    assert {"Serial number", "Made of", "Parts", "Created at", "Deleted at"} <= found
    assert "Bought in" in found and not {"B", "Made of id"} & found
