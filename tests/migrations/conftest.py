"""Short ways to write the IR of a resource, and a database whose tables come from it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from forge_min.db import Connection, connect
from forge_min.parse.ir import FieldIR, RelationIR, ResourceIR, Span

SPAN = Span("resources/x/schema.py", 1, 1, 2)


class Schema:
    """What the DSL would say, as IR."""

    @staticmethod
    def field(name: str, type: Any = "string", **options: Any) -> FieldIR:
        """A field; a default that is given is a default that is set."""
        options.setdefault("has_default", options.get("default") is not None)
        return FieldIR(name, type, SPAN, **options)

    @staticmethod
    def belongs_to(name: str, target: str, **options: Any) -> RelationIR:
        """A relation."""
        return RelationIR(name, target, SPAN, **options)

    @staticmethod
    def define(
        name: str, *members: FieldIR | RelationIR, table: str = "", **options: Any
    ) -> ResourceIR:
        """A resource; its table is the name in lower case with an s."""
        plural = table or name.lower() + "s"
        source = f"resources/{name.lower()}/schema.py"
        return ResourceIR(
            name, name.lower(), plural, plural.replace("_", "-"), source, SPAN, members, **options
        )


@pytest.fixture
def schema() -> Schema:
    """The short ways."""
    return Schema()


@pytest.fixture
def conn(fresh_database) -> Iterator[Connection]:
    """The owner's connection to a database of this test."""
    with connect(fresh_database.owner_url) as conn:
        yield conn
