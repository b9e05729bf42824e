"""The OpenAPI 3.1 document: the generated part below its prefix, and all other routes.

It is built once at start. The page /api/docs is plain HTML of the same document, so it needs no
internet access.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
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
    paths = {prefix + path: dict(item) for path, item in generated["paths"].items()}
    schemes = dict(_TABLE["security"])
    if not sessions:
        del schemes["session"]
    security: list[Json] = [{name: []} for name in schemes]
    limits = {}
    if limited:
        limits = _headers(("RateLimit", "RateLimit-Policy"))
    for item in paths.values():
        topics = set()
        for method in item.keys() - {"parameters"}:
            topics.add(item[method]["operationId"].partition(".")[0])
            item[method] = _complete(item[method], security, limits)
        if tenant_header and not topics.isdisjoint(scoped):
            parameter = {"name": tenant_header, **_TABLE["tenant"]["parameter"]}
            item["parameters"] = [*item.get("parameters", ()), parameter]
    for route in routes:
        path = route.pattern.replace("...}", "}")
        item = paths.setdefault(path, {})
        method = route.method.lower()
        if method not in item:
            operation = _route_operation(route, security)
            if path.startswith(f"{prefix}/"):
                operation = _verb(operation, path, paths, security, limits)
            item[method] = operation
    tags = set()
    for _, _, operation in _operations(paths):
        tags.update(operation.get("tags", ()))
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


def _operations(paths: Json) -> Iterator[tuple[str, str, Json]]:
    """The operations, each with its path and method."""
    for path, item in paths.items():
        for method, operation in item.items():
            if method != "parameters":
                yield path, method, operation


def _complete(operation: Json, security: list[Json], limits: Json) -> Json:
    """Add the responses that every operation of the API may have, and its security schemes.

    An operation without a response 403 is open to anonymous clients.
    """
    responses = {}
    for status, response in operation["responses"].items():
        responses[status] = _with_headers(response, response.get("headers", {}) | limits)
    if "403" not in responses:
        security = [{}, *security]
    for status in sorted(_RESPONSES.keys() - responses.keys()):
        if "requestBody" in operation or status not in _WITH_BODY:
            responses[status] = {"$ref": f"#/components/responses/{status}"}
    return operation | {"responses": responses, "security": security}


def _verb(operation: Json, path: str, paths: Json, security: list[Json], limits: Json) -> Json:
    """The operation of a verb, which returns the row as a PATCH does.

    The operation of a route that is not a verb of a resource is only completed.
    """
    row_path = path.rpartition("/")[0]
    row = paths.get(row_path, {})
    if "patch" not in row:
        return _complete(operation, security, limits)
    rows = paths.get(row_path.rpartition("/")[0], {})
    idempotency = rows.get("post", {}).get("parameters", [])
    for name in ("tags", "responses", "security"):
        operation[name] = row["patch"][name]
    operation["parameters"] = [*row["parameters"], *idempotency]
    return operation


def _problem(why: str, status: str, limits: Json) -> Json:
    schema = {"$ref": "#/components/schemas/Problem"}
    response = {"description": why, "content": {"application/problem+json": {"schema": schema}}}
    headers = limits
    if status in _RETRY_LATER:
        headers = limits | _headers(["Retry-After"])
    return _with_headers(response, headers)


def _with_headers(response: Json, headers: Json) -> Json:
    if not headers:
        return response
    return response | {"headers": headers}


def _headers(names: Iterable[str]) -> Json:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _route_operation(route: Route, security: list[Json]) -> Json:
    """The operation of a route: from its name, parameters and docstring, unless it is /events."""
    if route.name == "events":
        events = dict(_TABLE["events"])
        responses = dict(events["responses"])
        for status, why in events.pop("problems").items():
            responses[status] = _problem(why, status, {})
        return events | {"responses": responses, "security": [{}, *security]}
    summary = route.handler.__doc__ or route.name or route.pattern
    operation: Json = {
        "summary": summary.strip().splitlines()[0],
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
        language = current_language()
        headers = [("Content-Type", "application/json")]
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
    translated = {}
    for name, value in part.items():
        if name in ("title", "description") and isinstance(value, str):
            translated[name] = _translated_text(value)
        else:
            translated[name] = _translated(value)
    return translated


def _translated_text(value: str) -> str:
    """A label or help; `generate` adds a note to the help of a field that only some roles see."""
    if not value.endswith(_HIDDEN):
        return text(value.rstrip())
    words = value.removesuffix(_HIDDEN).rstrip()
    return f"{text(words)} {text(_HIDDEN)}".lstrip()


def _page(document: Json) -> str:
    """The document as HTML: the operations by tag, with their parameters and responses."""
    paths = document["paths"]
    sections: dict[str, Item] = {}
    for path, method, operation in _operations(paths):
        name = next(iter(operation.get("tags", ())), "Pages and routes")
        section = sections.setdefault(name, Item(name=name, operations=[]))
        parameters = [*paths[path].get("parameters", ()), *operation.get("parameters", ())]
        item = Item(
            method=method.upper(),
            path=path,
            summary=operation.get("summary", ""),
            parameters=[_parameter(parameter) for parameter in parameters],
            body=_example(document["components"], operation),
            responses=_responses(document["components"], operation),
        )
        section.operations.append(item)
    return docs_page.render(title=document["info"]["title"], sections=[*sections.values()])


def _example(components: Json, operation: Json) -> str:
    """The example of the body of a request as JSON, "" if it has no body."""
    if "requestBody" not in operation:
        return ""
    content = next(iter(operation["requestBody"]["content"].values()))
    name = content["schema"]["$ref"].rpartition("/")[2]
    schema = components["schemas"][name]
    examples = schema.get("examples") or [dict.fromkeys(schema["properties"], "…")]
    return json.dumps(examples[0], indent=2, ensure_ascii=False)


def _responses(components: Json, operation: Json) -> list[Item]:
    responses = []
    for status, response in sorted(operation["responses"].items()):
        if "$ref" in response:
            response = components["responses"].get(status, {})
        responses.append(Item(status=status, description=response.get("description", "")))
    return responses


def _parameter(parameter: Json) -> Item:
    schema = parameter.get("schema", {})
    kind = " ".join(str(schema[name]) for name in ("type", "format") if name in schema)
    note = f"{parameter['in']}, {kind}"
    if parameter.get("required"):
        note += ", required"
    return Item(name=parameter["name"], note=note, description=parameter.get("description", ""))
