"""The OpenAPI 3.1 document: the generated part below its prefix, and all other routes.

It is built once at start. The page /api/docs is plain HTML of the same document, so it needs no
internet access.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from types import SimpleNamespace as Item
from typing import Any

from ..i18n import LANGUAGES, current_language, gettext_noop, text
from ..resources import table
from ..wsgi import Handler, Request, Response, Route, html_response, tenant_by_path, to_json
from .templates import docs as docs_page

Json = dict[str, Any]

_HIDDEN = gettext_noop("(not for everybody)")
_TABLE: Json = table(__package__, "openapi.toml")
_SHARED = {name: _TABLE[name] for name in ("Problem", "Pagination")}
_RESPONSES: dict[str, str] = _TABLE["responses"]
_WITH_BODY = {"413", "415"}
_RETRY_LATER = {"429", "503"}  # their responses have Retry-After


def build_document(
    generated: Mapping[str, Any],
    routes: Iterable[Route],
    *,
    title: str,
    version: str,
    prefix: str,
    sessions: bool = False,
    limited: bool = False,
    tenant_header: str = "",
    scoped: Collection[str] = (),
) -> Json:
    """Return the complete document.

    generated: gen/openapi.json.
    routes: every route of the router.
    title, version: of the project.
    prefix: of the paths of `generated`.
    sessions: whether users can sign in, so that a cookie authenticates too.
    limited: whether there is a rate limit, so that responses have its headers.
    tenant_header: the header that names the tenant, "" if no header does.
    scoped: the topics of the resources that belong to a tenant.
    """
    paths: Json = {prefix + path: dict(item) for path, item in generated["paths"].items()}
    schemes = {name: _TABLE["security"][name] for name in ("bearer", "session")[: 1 + sessions]}
    security: list[Json] = [{name: []} for name in schemes]
    limits = _headers(("RateLimit", "RateLimit-Policy")) if limited else {}
    for item in paths.values():
        methods = item.keys() - {"parameters"}
        topics = {item[method]["operationId"].partition(".")[0] for method in methods}
        item.update({method: _complete(item[method], security, limits) for method in methods})
        if tenant_header and not topics.isdisjoint(scoped):
            parameter = {"name": tenant_header, **_TABLE["tenant"]["parameter"]}
            item["parameters"] = [*item.get("parameters", ()), parameter]
    for route in routes:
        path = route.pattern.replace("...}", "}")
        item = paths.setdefault(path, {})
        if route.method.lower() not in item:
            operation = _route_operation(route, security)
            if path.startswith(prefix + "/"):
                operation = _verb(operation, path, paths, security, limits)
            item[route.method.lower()] = operation
    operations = (o for item in paths.values() for name, o in item.items() if name != "parameters")
    tags = {tag for operation in operations for tag in operation.get("tags", ())}
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version},
        "servers": [{"url": "/"}],
        "tags": [{"name": tag} for tag in sorted(tags)],
        "paths": paths,
        "components": {
            "schemas": {**_SHARED, **generated["components"]["schemas"]},
            "responses": {name: _problem(why, name, limits) for name, why in _RESPONSES.items()},
            "headers": _TABLE["headers"],
            "securitySchemes": schemes,
        },
    }


def _complete(operation: Json, security: list[Json], limits: Json) -> Json:
    """Add the responses that every operation of the API may have, and its security schemes.

    An operation without a response 403 is open to anonymous clients.
    """
    own = {
        status: response | ({"headers": response.get("headers", {}) | limits} if limits else {})
        for status, response in operation["responses"].items()
    }
    more = _RESPONSES.keys() - own.keys() - (set() if "requestBody" in operation else _WITH_BODY)
    responses = own | {name: {"$ref": f"#/components/responses/{name}"} for name in sorted(more)}
    allowed = security if "403" in own else [{}, *security]
    return operation | {"responses": responses, "security": allowed}


def _verb(operation: Json, path: str, paths: Json, security: list[Json], limits: Json) -> Json:
    """The operation of a verb, which returns the row as a PATCH does.

    The operation of a route that is not a verb of a resource is only completed.
    """
    row_path = path.rpartition("/")[0]
    row, rows = paths.get(row_path, {}), paths.get(row_path.rpartition("/")[0], {})
    if "patch" not in row:
        return _complete(operation, security, limits)
    change = {name: row["patch"][name] for name in ("tags", "responses", "security")}
    idempotency = rows.get("post", {}).get("parameters", [])
    return operation | change | {"parameters": [*row["parameters"], *idempotency]}


def _problem(why: str, status: str, limits: Json) -> Json:
    schema = {"$ref": "#/components/schemas/Problem"}
    headers = limits | (_headers(["Retry-After"]) if status in _RETRY_LATER else {})
    response = {"description": why, "content": {"application/problem+json": {"schema": schema}}}
    return response | ({"headers": headers} if headers else {})


def _headers(names: Iterable[str]) -> Json:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _route_operation(route: Route, security: list[Json]) -> Json:
    """The operation of a route: from its name, parameters and docstring, unless it is /events."""
    if route.name == "events":
        events = dict(_TABLE["events"])
        problems = {name: _problem(why, name, {}) for name, why in events.pop("problems").items()}
        return events | {"responses": events["responses"] | problems, "security": [{}, *security]}
    summary = (route.handler.__doc__ or route.name or route.pattern).strip().splitlines()[0]
    operation: Json = {
        "summary": summary,
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


def document_handlers(document: Json, *, tenant_in_path: bool = False) -> tuple[Handler, Handler]:
    """Return the handlers of /api/openapi.json and /api/docs.

    tenant_in_path: whether the API is also served below the path of each tenant, as /t/acme.
    """
    page = _page(document)

    @lru_cache(32)  # by the current language and the root of a tenant
    def body(language: str, root: str, of_tenants: bool) -> bytes:
        servers = [{"url": root or "/"}]
        if of_tenants:
            server = _TABLE["tenant"]["server"]
            servers.insert(0, {**server, "url": root + server["url"]})
        return to_json({**_translated(document), "servers": servers})

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


def _translated(part: Any) -> Any:
    """A part of the document with labels and helps in the current language."""
    if isinstance(part, list):
        return [_translated(item) for item in part]
    if not isinstance(part, dict):
        return part
    return {
        name: _translated_text(value)
        if name in ("title", "description") and isinstance(value, str)
        else _translated(value)
        for name, value in part.items()
    }


def _translated_text(value: str) -> str:
    """A label or help; `generate` adds a note to the help of a field that only some roles see."""
    words = value.removesuffix(_HIDDEN).rstrip()
    return " ".join(filter(None, [text(words), text(_HIDDEN) if value.endswith(_HIDDEN) else ""]))


def _page(document: Json) -> str:
    """The document as HTML: the operations by tag, with their parameters and responses."""
    sections: dict[str, list[Item]] = {}
    for path, item in document["paths"].items():
        shared = item.get("parameters", ())
        for method, operation in item.items():
            if method != "parameters":
                name = next(iter(operation.get("tags", ())), "Pages and routes")
                shown = _operation(document["components"], method, path, operation, shared)
                sections.setdefault(name, []).append(shown)
    return docs_page.render(
        title=document["info"]["title"],
        sections=[Item(name=name, operations=shown) for name, shown in sections.items()],
    )


def _operation(
    components: Json, method: str, path: str, operation: Json, parameters: Iterable[Json]
) -> Item:
    example, responses = "", []
    if body := operation.get("requestBody"):
        name = next(iter(body["content"].values()))["schema"]["$ref"].rpartition("/")[2]
        schema = components["schemas"][name]
        values = (schema.get("examples") or [dict.fromkeys(schema["properties"], "…")])[0]
        example = json.dumps(values, indent=2, ensure_ascii=False)
    for status, response in sorted(operation["responses"].items()):
        response = components["responses"].get(status, {}) if "$ref" in response else response
        responses.append(Item(status=status, description=response.get("description", "")))
    return Item(
        method=method.upper(),
        path=path,
        summary=operation.get("summary", ""),
        parameters=[*map(_parameter, (*parameters, *operation.get("parameters", ())))],
        body=example,
        responses=responses,
    )


def _parameter(parameter: Json) -> Item:
    schema = parameter.get("schema", {})
    kind = " ".join(str(schema[k]) for k in ("type", "format") if k in schema)
    note = f"{parameter['in']}, {kind}" + (", required" if parameter.get("required") else "")
    return Item(name=parameter["name"], note=note, description=parameter.get("description", ""))
