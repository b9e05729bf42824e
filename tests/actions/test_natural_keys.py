"""Keys that are part of the data, and versions that must be named."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from forge_min.actions import ANY_VERSION
from forge_min.errors import (
    Conflict,
    Invalid,
    NotFound,
    PreconditionRequired,
    StaleVersion,
)
from forge_min.testing import TestDatabase

from workshop import Workshop, workshop

pytestmark = pytest.mark.db


@pytest.fixture
def works(fresh_database: TestDatabase) -> Iterator[Workshop]:
    """An empty workshop on a database of this test alone."""
    with workshop(fresh_database) as made:
        yield made


def test_a_row_is_known_by_its_declared_key(works: Workshop) -> None:
    units = works["units"]
    made = units.create({"code": "kg", "name": "kilogram"})
    assert units.get("kg") == made and units.key_of(made) == "kg"
    assert units.update("kg", {"name": "Kilogramm"}, version=1).name == "Kilogramm"
    assert units.replace("kg", {"symbol": "k"}, version=2).name is None
    units.delete("kg", version=3)
    with pytest.raises(NotFound):
        units.get("kg")
    ids = [i for (i,) in works.sql("select distinct resource_id from forge_event")]
    assert ids == ["kg"]


def test_a_key_may_be_given_beside_the_data(works: Workshop) -> None:
    assert works["units"].create({"name": "kilogram"}, id="kg").code == "kg"


@pytest.mark.parametrize("key", ["", ".", "..", "a/b"])
def test_a_key_fits_an_address(works: Workshop, key: str) -> None:
    """RFC 3986 section 5.2.4: dot segments are taken out of a path before it is sent."""
    with pytest.raises(Invalid) as caught:
        works["units"].create({"code": key})
    assert [(e.pointer, e.code) for e in caught.value.errors] == [("/code", "pattern")]
    assert works["units"].create({"code": "..."}).code == "..."


def test_a_key_is_required_and_stays(works: Workshop) -> None:
    units = works["units"]
    with pytest.raises(Invalid) as caught:
        units.create({"name": "x"})
    assert [(e.pointer, e.code) for e in caught.value.errors] == [("/code", "required")]
    units.create({"code": "kg"})
    assert units.update("kg", {"code": "kg", "name": "y"}, version=1).version == 2
    assert units.update("kg", {"code": "kg"}, version=2).version == 2
    for change in (units.update, units.replace):
        with pytest.raises(Invalid) as caught:
            change("kg", {"code": "g", "name": "z"}, version=2)
        assert [(e.pointer, e.code) for e in caught.value.errors] == [("/code", "immutable")]
    assert units.get("kg").name == "y"


def test_a_key_that_is_taken_is_a_conflict_of_its_field(works: Workshop) -> None:
    works["units"].create({"code": "kg"})
    with pytest.raises(Conflict) as caught:
        works["units"].create({"code": "kg"})
    assert [e.pointer for e in caught.value.errors] == ["/code"]


def test_a_versioned_resource_is_changed_by_version_only(works: Workshop) -> None:
    units = works["units"]
    units.create({"code": "kg"})
    for call in (
        lambda: units.update("kg", {"name": "x"}),
        lambda: units.replace("kg", {"name": "x"}),
        lambda: units.delete("kg"),
    ):
        with pytest.raises(PreconditionRequired) as caught:
            call()
        assert caught.value.code == "F621"
    for call in (
        lambda: units.update("kg", {"name": "x"}, version=7),
        lambda: units.update("kg", {}, version=7),
        lambda: units.delete("kg", version=7),
    ):
        with pytest.raises(StaleVersion):
            call()
    assert units.update("kg", {"name": "x"}, version=1).version == 2
    assert units.update("kg", {"name": "y"}, version=ANY_VERSION).version == 3
    units.delete("kg", version=ANY_VERSION)


def test_a_row_that_others_refer_to_stays(works: Workshop) -> None:
    units = works["units"]
    units.create({"code": "kg"})
    units.create({"code": "g", "base": "kg"})
    with pytest.raises(Conflict):
        units.delete("kg", version=1)
    with pytest.raises(Invalid) as caught:
        units.update("g", {"base": "lb"}, version=1)
    assert [(e.pointer, e.code) for e in caught.value.errors] == [("/base", "no_such_row")]


def test_bulk_takes_declared_keys(works: Workshop) -> None:
    assert works["units"].create_many([{"code": "kg"}, {"code": "g"}]) == 2
    found = works["units"].upsert_many(
        [{"code": "kg", "name": "x"}, {"code": "g"}, {"code": "t"}], key="code"
    )
    assert found == (1, 1, 1)
    assert works.sql("select code, version from units order by 1") == [
        ("g", 1),
        ("kg", 2),
        ("t", 1),
    ]
