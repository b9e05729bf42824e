"""PATCH as a merge inside a field of type json (RFC 7396), and what it must not tell or lose."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from forge_min.api.resource import ResourceAPI, merge_patch
from forge_min.auth import as_identity
from forge_min.testing import TestDatabase
from forge_min.wsgi import Application, Router

from workshop import ANN, BOSS, Workshop, together, workshop
from wsgi.test_api import Answer, Client

# RFC 7396, appendix A: original, patch, result.
CASES: list[tuple[Any, Any, Any]] = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]),
    ({"a": "b"}, ["c"], ["c"]),
    ({"a": "foo"}, None, None),
    ({"a": "foo"}, "bar", "bar"),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]


@pytest.mark.parametrize(("value", "patch", "result"), CASES)
def test_a_merge_is_as_the_rfc_shows_it(value: Any, patch: Any, result: Any) -> None:
    before = repr(value)
    assert merge_patch(value, patch) == result
    assert repr(value) == before


@pytest.fixture
def works(fresh_database: TestDatabase) -> Iterator[Workshop]:
    with workshop(fresh_database) as made:
        yield made


class Product:
    """One product, patched in somebody's name."""

    def __init__(self, works: Workshop, details: object = None) -> None:
        api = ResourceAPI(works["products"], "/products")
        router = Router()
        router.add("PATCH", "/products/{id}", api.update)
        self._ask = Client(Application(router))
        self._works = works
        self.id = works.product("A", details=details).id

    def patch(self, details: object, who: Any = ANN, **headers: str) -> Answer:
        with as_identity(who):
            return self._ask("PATCH", f"/products/{self.id}", {"details": details}, **headers)

    @property
    def stored(self) -> Any:
        return self._works.one("select details from products where id = %s", self.id)


@pytest.mark.db
def test_an_object_is_merged_into_a_field(works: Workshop) -> None:
    product = Product(works, {"a": 1, "b": {"c": 2, "d": 3}})
    answer = product.patch({"b": {"c": None}})
    assert (answer.status, answer.json["details"]) == (200, {"a": 1, "b": {"d": 3}})
    assert product.stored == {"a": 1, "b": {"d": 3}}
    assert product.patch({"b": {"c": None}}).headers["etag"] == answer.headers["etag"]
    assert product.patch([{"x": None}]).json["details"] == [{"x": None}]
    assert product.patch(None).json["details"] is None


@pytest.mark.db
@pytest.mark.parametrize("before", [None, 5, [1], "text"])
def test_what_is_no_object_becomes_one_without_nulls(works: Workshop, before: object) -> None:
    product = Product(works, before)
    answer = product.patch({"a": 1.5, "b": {"c": None}, "d": None})
    assert answer.json["details"] == product.stored == {"a": 1.5, "b": {}}


@pytest.mark.db
def test_a_merge_keeps_what_others_write_meanwhile(works: Workshop) -> None:
    product = Product(works, {"kept": True})

    def change(name: str) -> None:
        for n in range(10):
            assert product.patch({name: {str(n): n}}).status == 200

    assert together(*[partial(change, name) for name in "ab"]) == []
    written = {str(n): n for n in range(10)}
    assert product.stored == {"kept": True, "a": written, "b": written}


@pytest.mark.db
@pytest.mark.parametrize("named", [{}, {"if_match": "*"}, {"if_none_match": '"9"'}])
def test_a_merge_between_read_and_write_is_done_again(
    works: Workshop, monkeypatch: pytest.MonkeyPatch, named: dict[str, str]
) -> None:
    product = Product(works, {"a": 1})
    actions = works["products"]
    update, others = actions.update, iter([{"details": {"a": 1, "b": 2}}])

    def overtaken(key: Any, data: Any, **rest: Any) -> Any:
        for other in others:
            update(key, other)
        return update(key, data, **rest)

    monkeypatch.setattr(actions, "update", overtaken)
    answer = product.patch({"c": 3}, **named)
    assert answer.json["details"] == {"a": 1, "b": 2, "c": 3}


@pytest.mark.db
def test_a_merge_is_based_on_the_version_that_is_named(works: Workshop) -> None:
    product = Product(works, {"a": 1})
    assert product.patch({"b": 2}, if_match='"1"').status == 200
    for stale in ('"1"', '"3"'):
        assert product.patch({"c": 3}, if_match=stale).status == 412
    assert product.patch({"c": 3}, if_none_match="*").status == 412
    assert product.patch({"c": 3}, if_match="*").status == 200
    assert product.stored == {"a": 1, "b": 2, "c": 3}


@pytest.mark.db
def test_a_merge_needs_a_version_where_every_change_does(
    works: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    product = Product(works, {"a": 1})
    strict = works["products"].resource._replace(versioned=True)
    monkeypatch.setattr(type(works["products"]), "resource", strict)
    assert product.patch({"b": 2}).status == 428
    assert product.patch({"b": 2}, if_match='"1"').json["details"] == {"a": 1, "b": 2}


@pytest.mark.db
def test_who_may_not_see_the_field_replaces_it_and_learns_nothing(
    works: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    product = Product(works, {"a": 1})
    resource = works["products"].resource
    columns = [
        c._replace(visible_to=("boss",)) if c.type == "json" else c for c in resource.columns
    ]
    monkeypatch.setattr(
        type(works["products"]), "resource", resource._replace(columns=tuple(columns))
    )
    # The version would tell whether the member is there, and has this value.
    for guess, version in (({"a": 1, "x": None}, 1), ({"b": 1}, 2), ({"a": 1}, 3)):
        answer = product.patch(guess)
        assert answer.status == 200 and "details" not in answer.json
        assert answer.json["version"] == version
    assert product.patch({"b": 2}, BOSS).json["details"] == {"a": 1, "b": 2}


@pytest.mark.db
def test_who_may_write_and_not_read_replaces_the_field(
    works: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    product = Product(works, {"a": 1})
    rules = {"read": ("boss",), "update": ("anybody",)}
    blind = works["products"].resource._replace(permissions=rules)
    monkeypatch.setattr(type(works["products"]), "resource", blind)
    answer = product.patch({"b": 2, "c": None})
    assert (answer.status, answer.json.keys()) == (200, {"id", "version"})
    assert product.stored == {"b": 2}


@pytest.mark.db
@pytest.mark.parametrize("depth", [65, 500, 20_000])
def test_a_patch_that_is_nested_too_deeply_is_refused(works: Workshop, depth: int) -> None:
    product = Product(works, {"a": 1})
    with as_identity(ANN):
        raw = b'{"details":' + b'{"a":' * depth + b"null" + b"}" * depth + b"}"
        answer = product._ask("PATCH", f"/products/{product.id}", raw=raw)
    assert answer.status in (400, 422), answer
    assert product.stored == {"a": 1}
