"""The OpenAPI 3.1 document: gen's part with the prefix put on, and every other route of the router.

Made once at start. The page at /api/docs is plain HTML of the same document, so it works with no
internet.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from string import Template
from typing import Any

from ..i18n import LANGUAGES, current_language, gettext_noop, text
from ..resources import files, table
from ..wsgi import (
    Handler,
    Raw,
    Request,
    Response,
    Route,
    escape,
    html_response,
    join,
    tag,
    tenant_by_path,
    to_json,
)

Json = dict[str, Any]


_HIDDEN = gettext_noop("(not for everybody)")
_PLACE = files(__package__)
_TABLE: Json = table(__package__, "openapi.toml")
_SHARED = {name: _TABLE[name] for name in ("Problem", "Pagination")}
_ANSWERS: dict[str, str] = _TABLE["answers"]
_WITH_BODY = {"413", "415"}
_LATER = {"429", "503"}  # say when to ask again
_PROBLEM = "application/problem+json"
_PAGE = Template((_PLACE / "docs.html").read_text("utf-8"))


def document(
    generated: Mapping[str, Any], routes: Iterable[Route], *, title: str, version: str,
    prefix: str, sessions: bool = False, limited: bool = False, tenant_header: str = "",
    scoped: Collection[str] = (),
) -> Json:  # fmt: skip
    """The whole document. generated: gen/openapi.json. routes: every route that the router has.
    sessions: people sign in, so a cookie is a way too. limited: answers say what is left of a rate
    limit. tenant_header: names the tenant whose rows of a topic in `scoped` are meant.
    """
    paths: Json = {prefix + path: dict(item) for path, item in generated["paths"].items()}
    ways: list[Json] = [{"bearer": []}, *([{"session": []}] if sessions else [])]
    limits = _headers(("RateLimit", "RateLimit-Policy")) if limited else {}
    for item in paths.values():
        for method in item.keys() - {"parameters"}:
            topic = item[method]["operationId"].partition(".")[0]
            item[method] = _complete(item[method], ways, limits)
        if tenant_header and topic in scoped:
            named = {"name": tenant_header, **_TABLE["tenant"]["parameter"]}
            item["parameters"] = [*item.get("parameters", ()), named]
    for route in routes:
        path = route.pattern.replace("...}", "}")
        item = paths.setdefault(path, {})
        if route.method.lower() not in item:
            made = _plain(route, ways)
            if path.startswith(prefix + "/"):
                made = _verb(made, path, paths, ways, limits)
            item[route.method.lower()] = made
    operations = (o for item in paths.values() for name, o in item.items() if name != "parameters")
    tags = {tag for operation in operations for tag in operation.get("tags", ())}
    known = _TABLE["security"]
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version},
        "servers": [{"url": "/"}],
        "tags": [{"name": tag} for tag in sorted(tags)],
        "paths": paths,
        "components": {
            "schemas": {**_SHARED, **generated["components"]["schemas"]},
            "responses": {name: _problem(why, name, limits) for name, why in _ANSWERS.items()},
            "headers": _TABLE["headers"],
            "securitySchemes": {next(iter(way)): known[next(iter(way))] for way in ways},
        },
    }


def _complete(operation: Json, ways: list[Json], limits: Json) -> Json:
    """With what any operation of the API may answer, and who may ask: somebody, where nobody would
    be refused.
    """
    own = {
        status: answer | ({"headers": answer.get("headers", {}) | limits} if limits else {})
        for status, answer in operation["responses"].items()
    }
    more = _ANSWERS.keys() - own.keys() - (set() if "requestBody" in operation else _WITH_BODY)
    responses = own | {name: {"$ref": f"#/components/responses/{name}"} for name in sorted(more)}
    asked = ways if "403" in own else [{}, *ways]
    return operation | {"responses": responses, "security": asked}


def _verb(operation: Json, path: str, paths: Json, ways: list[Json], limits: Json) -> Json:
    """A verb: it answers with the row, as a change of it does."""
    row_path = path.rpartition("/")[0]
    row, rows = paths.get(row_path, {}), paths.get(row_path.rpartition("/")[0], {})
    if "patch" not in row:
        return _complete(operation, ways, limits)
    change = {name: row["patch"][name] for name in ("tags", "responses", "security")}
    once = rows.get("post", {}).get("parameters", [])
    return operation | change | {"parameters": [*row["parameters"], *once]}


def _problem(why: str, status: str, limits: Json) -> Json:
    schema = {"$ref": "#/components/schemas/Problem"}
    headers = limits | (_headers(["Retry-After"]) if status in _LATER else {})
    made = {"description": why, "content": {_PROBLEM: {"schema": schema}}}
    return made | ({"headers": headers} if headers else {})


def _headers(names: Iterable[str]) -> Json:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _events(ways: list[Json]) -> Json:
    told = dict(_TABLE["events"])
    problems = {name: _problem(why, name, {}) for name, why in told.pop("problems").items()}
    return told | {"responses": told["responses"] | problems, "security": [{}, *ways]}


def _plain(route: Route, ways: list[Json]) -> Json:
    """What can be said of a route that the user wrote: its name, parameters and docstring."""
    if route.name == "events":
        return _events(ways)
    words = (route.handler.__doc__ or route.name or route.pattern).strip().splitlines()[0]
    operation: Json = {
        "summary": words,
        "responses": {"default": {"description": "See the summary"}},
    }
    if route.name:
        operation["operationId"] = route.name
    names = re.findall(r"\{([a-z_][a-z0-9_]*)(?:\.\.\.)?\}", route.pattern)
    if names:
        operation["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in names
        ]
    return operation


def handlers(made: Json, *, tenant_in_path: bool = False) -> tuple[Handler, Handler]:
    """The handlers of /api/openapi.json and /api/docs. tenant_in_path: what lies at /t/acme too."""
    page = _page(made)

    @lru_cache(32)  # in the current language; each tenant's place is another
    def body(language: str, root: str, of_tenants: bool) -> bytes:
        return to_json({**_spoken(made), "servers": _servers(root, of_tenants)})

    def contract(request: Request) -> Response:
        """This API as OpenAPI 3.1."""
        language, headers = current_language(), [("Content-Type", "application/json")]
        if LANGUAGES:
            headers += [("Vary", "Accept-Language"), ("Content-Language", language or "en")]
        of_tenants = tenant_in_path and not tenant_by_path(request)
        return Response(200, body(language, request.root, of_tenants), headers)

    def docs(request: Request) -> Response:
        """This API for people."""
        return html_response(page, headers=[("Content-Language", "en")])

    return contract, docs


def _servers(root: str, of_tenants: bool) -> list[Json]:
    """Where the paths of the document begin: here, and first of all at every tenant's place."""
    here = {"url": root or "/"}
    if not of_tenants:
        return [here]
    server = _TABLE["tenant"]["server"]
    return [{**server, "url": root + server["url"]}, here]


def _spoken(made: Any) -> Any:
    """The document with the words of the schemas in the current language."""
    if isinstance(made, list):
        return [_spoken(each) for each in made]
    if not isinstance(made, dict):
        return made
    told = ("title", "description")
    return {
        name: _words(value) if name in told and isinstance(value, str) else _spoken(value)
        for name, value in made.items()
    }


def _words(value: str) -> str:
    """A label; or a help, and behind it what generate says of a field that some roles see."""
    words = value.removesuffix(_HIDDEN).rstrip()
    return " ".join(filter(None, [text(words), text(_HIDDEN) if value.endswith(_HIDDEN) else ""]))


def _page(made: Json) -> str:
    """The document for people: the operations by tag, each with what it takes and answers."""
    found: dict[str, list[Raw]] = {}
    for path, item in made["paths"].items():
        for method, operation in item.items():
            if method != "parameters":
                taken = [*item.get("parameters", ()), *operation.get("parameters", ())]
                name = next(iter(operation.get("tags", ())), "Pages and routes")
                shown = _operation(made, method, path, operation, taken)
                found.setdefault(name, []).append(shown)
    sections = join(
        part for name, shown in found.items() for part in (tag("h2", name), *shown)
    )  # fmt: skip
    return _PAGE.substitute(title=escape(made["info"]["title"]), sections=sections)


def _operation(made: Json, method: str, path: str, operation: Json, parameters: list[Json]) -> Raw:
    words = [tag("code", method.upper(), class_="tag"), tag("code", path)]
    head = tag("summary", join([*words, Raw(" "), operation.get("summary", "")]))
    parts = [_parameters(parameters)] if parameters else []
    if body := operation.get("requestBody"):
        schema = next(iter(body["content"].values()))["schema"]
        named = made["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        shown = (named.get("examples") or [dict.fromkeys(named["properties"], "…")])[0]
        text = json.dumps(shown, indent=2, ensure_ascii=False)
        parts += [tag("h3", "Body"), tag("pre", text, tabindex="0")]
    rows = []
    for status, answer in sorted(operation["responses"].items()):
        told = made["components"]["responses"].get(status, {}) if "$ref" in answer else answer
        cells = join([tag("dt", status), tag("dd", told.get("description", ""))])
        rows.append(cells)
    return tag("details", join([head, *parts, tag("h3", "Answers"), _list(rows)]), class_="api")


def _parameters(parameters: list[Json]) -> Raw:
    rows = []
    for one in parameters:
        schema = one.get("schema", {})
        kind = " ".join(str(schema[k]) for k in ("type", "format") if k in schema)
        place = f"{one['in']}, {kind}" + (", required" if one.get("required") else "")
        name = join([tag("code", one["name"]), Raw("<br>"), tag("small", place)])
        rows.append(join([tag("dt", name), tag("dd", one.get("description", ""))]))
    return join([tag("h3", "Parameters"), _list(rows)])


def _list(rows: list[Raw]) -> Raw:
    return tag("dl", join(rows), class_="facts")
