"""gen/openapi.json says what the routes do."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import forge_min
import jsonschema
import pytest
from forge_min.actions.query import MAX_LIMIT, MAX_PAGE
from forge_min.generate.resource_model import shape_of
from forge_min.parse import parse_project

from ..parse.helpers import IMPORT, parse
from .helpers import rendered

RESOURCES = parse_project(Path(__file__).parents[1] / "wide").resources
DOCUMENT: dict[str, Any] = json.loads(rendered(RESOURCES)["openapi.json"])
PATHS: dict[str, Any] = DOCUMENT["paths"]
SCHEMAS: dict[str, Any] = DOCUMENT["components"]["schemas"]
GUARDED = {"401", "403"}
SHARED = tomllib.loads((Path(forge_min.__file__).parent / "api" / "openapi.toml").read_text())


def references(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        yield from ([value["$ref"]] if "$ref" in value else [])
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from references(item)


def parameters(operation: dict[str, Any]) -> dict[str, Any]:
    return {found["name"]: found for found in operation.get("parameters", ())}


def test_every_reference_leads_somewhere_and_every_operation_has_its_own_id() -> None:
    known = {f"#/components/schemas/{name}" for name in [*SCHEMAS, "Problem", "Pagination"]}
    known |= {f"#/components/headers/{name}" for name in SHARED["headers"]}
    assert set(references(DOCUMENT)) <= known
    operations = [one for item in PATHS.values() for k, one in item.items() if k != "parameters"]
    ids = [operation["operationId"] for operation in operations]
    assert len(ids) == len(set(ids)) and "orders.restore" in ids and "tickets.audit" in ids
    assert all(operation["responses"] for operation in operations)


def test_the_routes_are_those_that_are_registered() -> None:
    by_name = {resource.name: resource for resource in RESOURCES}
    for resource in RESOURCES:
        shape = shape_of(resource, by_name)
        extra = {path for path in PATHS if path.startswith(f"/{resource.path}/{{id}}/")}
        asked = [("restore", resource.soft_delete), ("audit", resource.auditable)]
        asked += [(verb, True) for states in resource.states for verb in states.verbs]
        wanted = {f"/{resource.path}/{{id}}/{word}" for word, is_there in asked if is_there}
        assert extra == wanted
        (key,) = PATHS[f"/{resource.path}/{{id}}"]["parameters"]
        assert key["schema"]["type"] == (
            "integer" if shape.columns[0].type == "bigint" else "string"
        )


def test_refusals_stand_where_they_can_happen() -> None:
    assert set(PATHS["/documents/{id}"]["delete"]["responses"]) >= GUARDED
    assert not set(PATHS["/documents"]["get"]["responses"]) & GUARDED
    assert set(PATHS["/tags"]["get"]["responses"]) >= GUARDED  # a tenant's
    assert "428" in PATHS["/orders/{id}"]["patch"]["responses"]
    assert parameters(PATHS["/orders/{id}"]["delete"])["If-Match"]["required"] is True
    assert "428" not in PATHS["/tags/{id}"]["patch"]["responses"]
    assert "Idempotency-Key" in parameters(PATHS["/tags"]["post"])


def test_conditions_stand_where_they_are_honoured() -> None:
    order = PATHS["/orders/{id}"]
    assert "304" in order["get"]["responses"] and "If-None-Match" in parameters(order["get"])
    for operation in (order["patch"], order["put"], PATHS["/orders/{id}/restore"]["post"]):
        assert "412" in operation["responses"] and "If-Match" in parameters(operation)
        assert "ETag" in operation["responses"]["200"]["headers"]
    # A restore needs no version, even where changes do.
    assert "required" not in parameters(PATHS["/orders/{id}/restore"]["post"])["If-Match"]
    assert "Link" in PATHS["/orders"]["get"]["responses"]["200"]["headers"]


def test_the_pages_of_a_list_have_the_bounds_that_the_server_has() -> None:
    found = parameters(PATHS["/orders"]["get"])
    assert found["page"]["schema"]["maximum"] == MAX_PAGE
    assert found["limit"]["schema"]["maximum"] == MAX_LIMIT
    assert found["per_page"]["schema"]["maximum"] == MAX_LIMIT


def test_what_some_people_do_not_see_may_be_absent() -> None:
    order = SCHEMAS["Order"]
    assert "margin" in order["properties"] and "margin" not in order["required"]
    assert "total" in order["required"]
    assert order["properties"]["labels"]["items"] == {"$ref": "#/components/schemas/Tag"}
    assert "labels" not in order["required"]


def test_fields_say_their_type_rules_and_texts() -> None:
    document = SCHEMAS["DocumentInput"]["properties"]
    assert document["string"] | {"examples": 0} == {
        "type": "string",
        "minLength": 2,
        "maxLength": 60,
        "title": "Title",
        "description": "What the document is called",
        "examples": 0,
    }
    assert document["enum"]["enum"] == ["draft", "it's out", None]
    assert document["url"]["format"] == "uri" and document["email"]["format"] == "email"
    assert document["bigint"]["format"] == "int64"
    assert document["decimal"]["default"] == "1.5"
    assert "type" not in document["json"] and "object" in document["settings"]["type"]
    assert SCHEMAS["Order"]["properties"]["reference"]["pattern"].startswith("^(?:")
    assert SCHEMAS["OrderInput"]["properties"]["label_ids"]["items"]["format"] == "uuid"
    assert "email" not in SCHEMAS["DocumentPatch"]["properties"]  # immutable
    assert SCHEMAS["ClassInput"]["required"] == ["code", "class"]
    assert "id" not in SCHEMAS["Class"]["properties"]


def test_times_floats_and_lists_say_their_type_and_limits() -> None:
    course = SCHEMAS["CourseInput"]["properties"]
    assert course["time"] == {"type": "string", "format": "time-local"}
    assert course["length"]["format"] == "duration" and course["length"]["default"] == "PT36H"
    assert (course["weight"]["minimum"], course["weight"]["maximum"]) == (-0.5, 1e300)
    assert course["tags"] == {"type": "array", "items": {"type": "string"}, "maxItems": 5}
    assert course["days"]["type"] == ["array", "null"]
    assert course["days"]["items"]["enum"] == ["mon", "it's", "sun"]
    # JSON Schema has no limits of texts.
    assert "minimum" not in course["starts_on"]
    assert course["starts_on"]["description"] == "(min 1900-01-01) (max today+2y)"
    assert course["opens_at"]["description"] == "(min 06:00:00) (max 22:30:00)"
    found = parameters(PATHS["/courses"]["get"])
    assert found["rooms[contains]"]["schema"] == {"type": "integer", "format": "int32"}
    assert found.keys().isdisjoint({"tags", "rooms", "days"})


def test_a_default_is_of_a_whole_row_and_of_no_change() -> None:
    def said(name: str) -> set[str]:
        return {field for field, one in SCHEMAS[name]["properties"].items() if "default" in one}

    assert said("DocumentInput") >= {"decimal", "int", "bool"}
    # A client that is generated from it would set them anew with each change.
    assert said("DocumentPatch") == said("Document") == set()


def test_what_may_be_an_array_says_of_what() -> None:
    def kinds(one: dict[str, Any]) -> list[str]:
        return [one["type"]] if isinstance(one.get("type"), str) else one.get("type", [])

    found = [one for schema in SCHEMAS.values() for one in schema["properties"].values()]
    arrays = [one for one in found if "array" in kinds(one)]
    assert SCHEMAS["DocumentPatch"]["properties"]["settings"] in arrays
    assert all("items" in one for one in arrays)


def test_lists_say_their_filters_search_and_relations() -> None:
    found = parameters(PATHS["/orders"]["get"])
    assert {"q", "include", "sort", "status", "total", "account_id"} <= found.keys()
    assert "margin" not in found and "[gte]" in found["total"]["description"]
    assert "[gte]" not in found["status"]["description"]
    assert "include" in parameters(PATHS["/orders/{id}"]["get"])
    assert "q" not in parameters(PATHS["/tags"]["get"])
    # Fields of related rows, if a row has at most one of them.
    assert found["account.name"]["schema"] == {"type": "string"}
    assert "[contains]" in found["account.name"]["description"]
    assert {"class.import", "parent.account_id", "ticket.price", "ticket.code"} <= found.keys()
    assert "profile.website" in parameters(PATHS["/accounts"]["get"])
    others = {"account.notes", "account.created_at", "account.id", "labels.name", "children.number"}
    assert found.keys().isdisjoint(others)


def test_lists_of_no_tenant_have_no_filters_on_rows_of_one() -> None:
    field = 'schema.string("code", filterable=True)'
    shop = f'schema.define("Shop", schema.tenant_scoped(), schema.belongs_to("Place"), {field})'
    parsed = parse(
        place=f'{IMPORT}x = schema.define("Place", schema.has_one("Shop"), {field})\n',
        shop=f"{IMPORT}x = {shop}\n",
    )
    assert parsed.diagnostics == ()
    paths = json.loads(rendered(parsed.resources)["openapi.json"])["paths"]
    assert "place.code" in parameters(paths["/shops"]["get"])
    assert "shop.code" not in parameters(paths["/places"]["get"])


def test_resources_that_are_called_like_another_ones_schema_have_schemas_of_their_own() -> None:
    files = {
        name.lower(): f'{IMPORT}x = schema.define("{name}", schema.bool("{name.lower()}"))\n'
        for name in ("Problem", "Tag", "Taginput")
    }
    files["tag_input"] = IMPORT + 'x = schema.define("TagInput", schema.bool("tag_input"))\n'
    parsed = parse(**files)
    assert parsed.diagnostics == ()
    schemas = json.loads(rendered(parsed.resources)["openapi.json"])["components"]["schemas"]
    assert len(schemas) == 3 * len(files)
    for name, schema in schemas.items():
        word = {"Problem.Row": "problem", "Tag.Input": "tag", "TagInput": "tag_input"}.get(name)
        assert word is None or word in schema["properties"]


def test_who_may_write_and_not_read_is_told_what_comes_back() -> None:
    parts = 'schema.string("code", primary_key=True), schema.permission("read", ["manager"]), '
    parts += 'schema.permission("create", ["member"]), schema.permission("update", ["manager"])'
    parsed = parse(unit=f'{IMPORT}x = schema.define("Unit", {parts})\n')
    assert parsed.diagnostics == ()
    paths = json.loads(rendered(parsed.resources)["openapi.json"])["paths"]

    def schema(path: str, method: str, status: str) -> Any:
        return paths[path][method]["responses"][status]["content"]["application/json"]["schema"]

    whole = {"$ref": "#/components/schemas/Unit"}
    known = {"code": schema("/units", "post", "201")["anyOf"][1]["properties"]["code"]}
    known["version"] = {"type": "integer"}
    written = {"type": "object", "properties": known, "required": ["code", "version"]}
    assert schema("/units", "post", "201") == {"anyOf": [whole, written]}
    assert schema("/units/{id}", "patch", "200") == schema("/units/{id}", "get", "200") == whole


def test_a_key_that_is_text_has_to_fit_an_address() -> None:
    parsed = parse(
        unit=f'{IMPORT}x = schema.define("Unit", schema.string("code", primary_key=True))\n'
    )
    schemas = json.loads(rendered(parsed.resources)["openapi.json"])["components"]["schemas"]
    for code in ("", ".", "..", "a/b", "/", "x" * 501):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({"code": code}, schemas["UnitInput"])
    for code in ("a", "...", "a.b", ".a", "é ?", "x" * 500):
        jsonschema.validate({"code": code}, schemas["UnitInput"])


def test_whatever_names_a_row_may_be_told_that_the_address_is_malformed() -> None:
    rows = [item for path, item in PATHS.items() if "{id}" in path]
    assert rows and all(
        "400" in one["responses"]
        for item in rows
        for method, one in item.items()
        if method != "parameters"
    )


def test_every_example_is_what_its_schema_allows() -> None:
    shown = {name: schema for name, schema in SCHEMAS.items() if "examples" in schema}
    assert {"AccountInput", "OrderInput", "StationInput"} <= shown.keys()
    for schema in shown.values():
        (example,) = schema["examples"]
        jsonschema.Draft202012Validator(schema).validate(example)


def test_an_example_keeps_the_rules_of_its_field_or_is_none() -> None:
    fields = (
        'schema.slug("short", max_len=3)',
        'schema.email("long", min_len=60)',
        'schema.url("brief", max_len=15)',
        'schema.decimal("part", precision=(2, 2))',
        'schema.decimal("dose", min=0.0000001, max=0.5)',
        'schema.float("weight", min=0.25, max=0.5)',
        'schema.date("day", min="2031-01-01")',
    )
    parsed = parse(unit=f'{IMPORT}x = schema.define("Unit", {", ".join(fields)})\n')
    assert parsed.diagnostics == ()
    schemas = json.loads(rendered(parsed.resources)["openapi.json"])["components"]["schemas"]
    (example,) = schemas["UnitInput"]["examples"]
    assert example == {"part": "0", "dose": "0.0000001", "weight": 0.25}
    with pytest.raises(jsonschema.ValidationError):  # numeric(2, 2) ends below 1
        jsonschema.validate({"part": "1"}, schemas["UnitInput"])
    jsonschema.validate({"part": "-0.25"}, schemas["UnitInput"])


def test_a_decimal_has_a_sign_only_if_it_may_be_negative_and_its_limits_in_words() -> None:
    fields = (
        'schema.decimal("price", precision=(6, 2), min=0)',
        'schema.decimal("count", min=0.5)',
        'schema.decimal("share", precision=(2, 2), min=0, max=0.5)',
        'schema.decimal("depth", precision=(4, 0), min=-90, max=9)',
        'schema.decimal("balance")',
    )
    parsed = parse(unit=f'{IMPORT}x = schema.define("Unit", {", ".join(fields)})\n')
    assert parsed.diagnostics == ()
    schemas = json.loads(rendered(parsed.resources)["openapi.json"])["components"]["schemas"]
    fields_of = schemas["UnitInput"]["properties"]
    cases: list[tuple[str, str | None, str, str]] = [
        ("price", "(min 0)", "9.5", "-9.5"),
        ("count", "(min 0.5)", "10.25", "-1"),
        ("share", "(min 0) (max 0.5)", "0.25", "-0.25"),
        ("depth", "(min -90) (max 9)", "-90", "--90"),
        ("balance", None, "-0.001", "-"),
    ]
    for name, description, valid, invalid in cases:
        assert fields_of[name].get("description") == description
        assert re.search(fields_of[name]["pattern"], valid)
        assert not re.search(fields_of[name]["pattern"], invalid)
