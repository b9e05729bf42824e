"""The JSON API of one resource: requests become actions, rows become responses.

The contract is docs/reference/http.md: lists with cursors and a Link header (RFC 8288), ETag from
the row's version, If-Match and If-None-Match (RFC 9110 section 13.1), PATCH as a merge (RFC 7396),
PUT as a whole, Idempotency-Key on POST, related rows by `?include=`. No SQL and no rules are here.
"""

from __future__ import annotations

import hashlib
import random
import re
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any
from urllib.parse import quote, urlencode
from zlib import crc32

from ..actions import (
    ANY_VERSION,
    JSON_DEPTH,
    MAX_COUNT,
    TOO_LARGE,
    TYPES,
    Actions,
    Check,
    ListQuery,
    Page,
    names_in,
)
from ..db import Connection
from ..errors import (
    BadRequest,
    FieldError,
    Forbidden,
    Invalid,
    NotFound,
    StaleVersion,
    Unauthenticated,
)
from ..fanout import iso_utc
from ..i18n import humanize, text
from ..lazy import lazy_pattern
from ..wsgi import (
    Handler,
    Headers,
    HTTPProblem,
    Request,
    Response,
    client_network,
    first,
    json_response,
    to_json,
)

# A strong tag of this API: the version, and a mark if the identity does not see every field.
_TAG = lazy_pattern(r'(?:^|,)\s*"([1-9][0-9]{0,17})(?:\.[0-9a-f]{8})?"\s*(?=,|$)', re.ASCII)
_NO_VERSION = -1  # matches no row
TRIES = 10  # attempts of a change without a version, if other requests change the row too
_APART = 0.005  # seconds, times the tries so far, so that two writers do not stay in step
PATCHES = ("application/merge-patch+json", "application/json")  # content types of a PATCH
_PLAIN = lazy_pattern(r"(?:[\w.~-]+=[\w.~-]*+(?:&(?!$)|$))++", re.ASCII)
"""A query string that decoding and encoding leave unchanged."""
_VISIBLE = lazy_pattern(r"[!-~]{1,255}")

Run = Callable[[Connection | None], Response]
"""Runs an action, with the connection of the transaction that it must be part of, if any."""


class ResourceAPI:
    """The request handlers of one resource.

    path: of its list, such as "/api/v1/flights".
    """

    def __init__(self, actions: Actions[Any, Any, Any], path: str) -> None:
        self._actions = actions
        self._path = path
        # Code of the project runs once in a request; actions of the library may run again.
        self._create_repeatable = actions.is_inherited("create", "validate")
        changes = ("update", "replace", "delete", "restore", "transition")
        self._change_repeatable = actions.is_inherited(*changes)

    def list(self, request: Request) -> Response:
        """GET a page of rows."""
        actions = self._actions
        actions.allow("read")
        limit = actions.limits.conditions
        query = ListQuery.parse(actions.resource, request.query, max_conditions=limit)
        while True:
            page = actions.list(query)
            try:
                return self._listed(request, query, page)
            except BadRequest as err:
                fewer = len(page.rows) // 2
                if err.code != TOO_LARGE or query.page is not None or not fewer:
                    raise
            query = replace(query, limit=fewer)

    def _listed(self, request: Request, query: ListQuery, page: Page[Any]) -> Response:
        """Return the response of a page. Raises BadRequest F646 if it is too large."""
        if query.page is None:
            pagination = _cursors(page)
            links = _cursor_links(request, page)
        else:
            total = page.total or 0
            pages = -(-total // query.limit)
            pagination = {
                "page": query.page,
                "per_page": query.limit,
                "total": page.total,
                "pages": pages,
                "has_more": query.page < pages,
                "total_is_estimate": page.is_estimate,
            }
            last_page = min(pages, MAX_COUNT // query.limit)
            before = min(query.page - 1, last_page)  # beyond the last page, prev is the last
            numbers = {"first": 1, "prev": before, "next": query.page + 1, "last": last_page}
            existing = {rel: page for rel, page in numbers.items() if 1 <= page <= last_page}
            links = _links(request, "page", existing)
        data = self._actions.to_json_many(page.rows, query.include)
        body = to_json({"data": data, "pagination": pagination})
        if len(page.rows) > 1 and len(body) > self._actions.limits.response:
            raise self._actions.limits.too_large()
        return Response(200, body, [("Content-Type", "application/json"), *links])

    def get(self, request: Request) -> Response:
        """GET a row; 304 if the client has this version."""
        actions = self._actions
        actions.allow("read")
        names = names_in(request.query, "include")
        row = actions.get(self._key(request))
        etag = self._etag(row)
        headers = [("ETag", etag)]
        if names:  # the version does not cover other rows
            (item,) = actions.to_json_many([row], names)
        elif request.has_match(etag):
            return Response(304, b"", headers)
        else:
            item = actions.to_json(row)
        return json_response(item, headers=headers)

    def create(self, request: Request) -> Response:
        """POST a new row, at most once per Idempotency-Key: 201 with Location."""
        self._actions.allow("create")
        data = _object(request)

        def run(conn: Connection | None) -> Response:
            row = self._actions.create(data, conn=conn)
            key = quote(str(self._actions.key_of(row)), safe="")
            location = f"{request.root}{self._path}/{key}"
            headers = [("Location", location), ("ETag", self._etag(row))]
            return json_response(self._actions.to_json(row), 201, headers)

        return self._once(request, "create", run, repeatable=self._create_repeatable)

    def update(self, request: Request) -> Response:
        """PATCH a row: absent members stay, null clears, inside a field of type json too."""
        row = self._change("update", self._merge, request, _patch)
        return self._row_response(row)

    def replace(self, request: Request) -> Response:
        """PUT a row: absent fields get their defaults."""
        row = self._change("update", self._actions.replace, request, _object)
        return self._row_response(row)

    def delete(self, request: Request) -> Response:
        """DELETE a row: 204."""
        self._change("delete", self._actions.delete, request)
        return Response(204, b"")

    def restore(self, request: Request) -> Response:
        """POST: restore a deleted row."""
        return self._write_once("restore", self._actions.restore, request)

    def transition(self, name: str) -> Handler:
        """Return the handler of a transition of the schema: a POST with an optional reason."""

        def handler(request: Request) -> Response:
            self._actions.allow(name)
            action = partial(self._actions.transition, name=name, reason=_reason(request))
            return self._write_once(name, action, request)

        handler.__doc__ = humanize(name)
        return handler

    def audit(self, request: Request) -> Response:
        """GET the changes of one row, the newest first."""
        self._actions.allow("audit")
        if not request.query.keys() <= {"limit", "cursor"}:
            raise BadRequest(text("only limit and cursor are parameters of this list"))
        query = ListQuery.parse(self._actions.resource, request.query)
        key = self._key(request)
        page = self._actions.audit_log(key, limit=query.limit, cursor=query.cursor)
        data = [entry.to_json() for entry in page.rows]
        body = {"data": data, "pagination": _cursors(page)}
        return json_response(body, headers=_cursor_links(request, page))

    def aggregate(self, request: Request) -> Response:
        """GET values of groups of rows."""
        self._actions.allow("read")
        query = self._actions.aggregate_query(request.query)
        return _groups(self._actions.aggregate(query))

    def report(self, request: Request) -> Response:
        """GET the groups of a report."""
        if not request.query.keys() <= {"zone"}:
            raise BadRequest(text("only zone is a parameter of a report"))
        zone = first(request.query, "zone") or "UTC"
        return _groups(self._actions.report(request.params["name"], zone=zone))

    def verb(self, function: Callable[..., Any], doc: str | None, operation: str = "") -> Handler:
        """Return the handler of a verb of the project.

        function: gets the key and the request, returns the row.
        doc: the docstring of the handler.
        operation: the name by which the schema declares a permission for it.
        """

        def handler(request: Request) -> Response:
            self._actions.allow(operation)
            key = self._key(request)
            version = self._version(request, key)
            run = partial(self._actions.run_verb, key, version, function, request)
            return self._once(request, operation, lambda _: self._row_response(run()))

        handler.__doc__ = doc
        return handler

    def _once(
        self, request: Request, operation: str, run: Run, *, repeatable: bool = False
    ) -> Response:
        """Return the response of `run`, which an Idempotency-Key runs at most once.

        repeatable: as in `Actions.once`.
        """
        key = request.header("Idempotency-Key")
        if key is None:
            return run(None)
        if not _VISIBLE.fullmatch(key):
            raise BadRequest(text("Idempotency-Key must be 1 to 255 visible ASCII characters"))

        def parts(conn: Connection) -> tuple[int, list[tuple[str, str]], bytes]:
            response = run(conn)
            assert isinstance(response.body, bytes)
            return response.status, [*response.headers], response.body

        digest = hashlib.sha256(request.body).hexdigest()
        path = ""
        if request.params:
            path = request.path.removeprefix(self._path)  # the row and the verb
        client = client_network(request)
        status, headers, body, replayed = self._actions.once(
            key, digest, parts, operation=operation, path=path, client=client, repeatable=repeatable
        )
        if replayed:
            headers = [*headers, ("Idempotency-Replayed", "true")]
        return Response(status, body, headers)

    def _write_once(self, operation: str, action: Callable[..., Any], request: Request) -> Response:
        """Return the row after an action, which an Idempotency-Key performs at most once."""

        def run(_: Connection | None) -> Response:
            return self._row_response(self._change(operation, action, request))

        return self._once(request, operation, run, repeatable=self._change_repeatable)

    def _change(
        self,
        operation: str,
        action: Callable[..., Any],
        request: Request,
        *readers: Callable[[Request], dict[str, Any]],
    ) -> Any:
        """Return the result of an action on the request's row.

        The permission is checked before anything else.

        readers: each reads one argument from the request; they are passed after the key.
        """
        self._actions.allow(operation)
        key = self._key(request)
        data = [self._without_unchanged(request, key, read(request)) for read in readers]
        for attempt in range(TRIES):
            version = self._version(request, key)
            try:
                return action(key, *data, version=version)
            except StaleVersion:
                # Another request wrote between the reading and the writing of a merge.
                named = request.header("If-Match") and version != ANY_VERSION
                repeatable = self._change_repeatable and attempt < TRIES - 1
                if named or version == _NO_VERSION or not repeatable:
                    raise
                # Wait, so that they do not conflict again.
                time.sleep(random.uniform(0, _APART * attempt))
        raise AssertionError("the last try returns or raises")

    def _without_unchanged(
        self, request: Request, key: Any, data: dict[str, Any]
    ) -> dict[str, Any]:
        """Return the data without fields that the client may not write and has not changed.

        So a client may send a row back as it received it. These fields are those that the server
        sets, and those that the identity may not write. Raises Invalid for a changed value of the
        former; the action rejects the latter.
        """
        actions = self._actions
        refused = actions.refused()
        set_by_server = [name for name in data if name in actions.served]
        if not set_by_server and refused.isdisjoint(data):
            return data
        try:
            row = actions.get(key)
        except (Forbidden, Unauthenticated):
            return data  # rejected by the action, so that a guess reveals no hidden value
        present = actions.to_json(row)
        changed = [n for n in set_by_server if n not in present or data[n] != present[n]]
        # With an old If-Match the action raises StaleVersion.
        if changed and self._version(request, key) in (None, ANY_VERSION, row.version):
            message = text("is set by the server and cannot be changed")
            raise Invalid([FieldError(f"/{name}", "not_writable", message) for name in changed])
        omitted = set(set_by_server)
        for name in refused.intersection(data, present):
            if _is_same(data[name], present[name]):
                omitted.add(name)
        return {name: value for name, value in data.items() if name not in omitted}

    def _merge(self, key: Any, data: dict[str, Any], *, version: int | None) -> Any:
        """Update the row, each object for a json column merged into the column's value.

        A value that the identity may not see is replaced, so that a merge does not reveal it.
        """
        actions = self._actions
        columns = actions.resource.columns
        inside = [c for c in columns if c.type == "json" and isinstance(data.get(c.name), dict)]
        if not inside or (version is None and actions.resource.versioned):
            return actions.update(key, data, version=version)
        row = None
        with suppress(Forbidden, Unauthenticated):
            row = actions.get(key)
            if version not in (None, ANY_VERSION, row.version):
                version = _NO_VERSION
            else:
                version = row.version
        data = dict(data)
        for column in inside:
            value = getattr(row, column.attribute or column.name, None)
            data[column.name] = merge_patch(value, data[column.name])
        return actions.update(key, data, version=version)

    def _row_response(self, row: Any) -> Response:
        return json_response(self._actions.to_json(row), headers=[("ETag", self._etag(row))])

    def _etag(self, row: Any) -> str:
        hidden = self._actions.hidden()
        if not hidden:
            return f'"{row.version}"'
        names = ",".join(sorted(hidden))
        return f'"{row.version}.{crc32(names.encode()):08x}"'

    def _key(self, request: Request) -> Any:
        return self._actions.read_key(request.params["id"])

    def _version(self, request: Request, key: Any) -> int | None:
        """Return the version that If-Match or If-None-Match requires, None without either header.

        ANY_VERSION is for `*`, _NO_VERSION for a weak or foreign tag, and for several tags of which
        none is the row's.
        """
        header = request.header("If-Match")
        if header is None:
            return self._other_version(request, key)
        if header.strip() == "*":
            return ANY_VERSION  # RFC 9110 section 13.1.1
        versions = {int(number) for number in _TAG.findall(header)}
        if len(versions) == 1:
            return versions.pop()
        if versions:
            present = self._present(key)
            if present in versions:
                return present
        return _NO_VERSION

    def _other_version(self, request: Request, key: Any) -> int | None:
        """The same for If-None-Match (RFC 9110 section 13.1.2), which names versions to reject."""
        header = request.header("If-None-Match") or ""
        if header == "*":
            return _NO_VERSION  # the row exists, or cannot be changed
        versions = {int(number) for number in _TAG.findall(header.replace("W/", ""))}
        if not versions:
            return None
        present = self._present(key)
        if present in versions:
            return _NO_VERSION
        # Versions only grow: if the rejected ones are older, any present version is fine.
        if max(versions) < present:
            return ANY_VERSION
        return present

    def _present(self, key: Any) -> int:
        """Return the version of a row, also of a deleted one, which may be restored.

        Returns _NO_VERSION if the row does not exist: the action then raises the error to show.
        """
        try:
            return int(self._actions.public(key, live=False).version)
        except NotFound:
            return _NO_VERSION


def _groups(groups: Iterable[dict[str, Any]]) -> Response:
    for group in groups:
        for name, value in group.items():
            if isinstance(value, datetime):
                group[name] = iso_utc(value)  # as in rows
    return json_response({"items": groups})


def _is_same(value: object, now: object) -> bool:
    """Whether a value of a request is the present one; fractions are compared as doubles."""
    with suppress(ValueError):  # of a value that no column accepts
        read = TYPES["json"].read
        return bool(read(value) == read(now))
    return False


def _cursors(page: Page[Any]) -> dict[str, Any]:
    return {"next": page.next, "prev": page.prev, "has_more": page.next is not None}


def _cursor_links(request: Request, page: Page[Any]) -> Headers:
    """Links to the other pages of a list by cursor (RFC 8288)."""
    return _links(request, "cursor", {"next": page.next, "prev": page.prev})


def _links(request: Request, name: str, values: Mapping[str, object]) -> Headers:
    """Links to the same URL with other values of a parameter.

    values: by link relation; None: no link. As text they need no encoding.
    """
    start = f"<{request.root}{quote(request.path)}?{_without(request, name)}{name}="
    links = [f'{start}{value}>; rel="{rel}"' for rel, value in values.items() if value is not None]
    if not links:
        return []
    return [("Link", ", ".join(links))]


def _without(request: Request, name: str) -> str:
    """Return the query string without a parameter, with "&" at its end; "" if nothing is left."""
    line = request.environ.get("QUERY_STRING", "")
    if _PLAIN.fullmatch(line):
        # PERF: the same text as below; to encode it takes 9 µs of a page (benchmarks/http, list).
        return "".join(f"{pair}&" for pair in line.split("&") if not pair.startswith(f"{name}="))
    others = {key: values for key, values in request.query.items() if key != name}
    if not others:
        return ""
    return f"{urlencode(others, doseq=True)}&"


def merge_patch(value: object, patch: object, depth: int = JSON_DEPTH) -> object:
    """Return `value` after a merge patch (RFC 7396 section 2).

    depth: of objects in each other; deeper, the patch is returned as it is, which no field accepts.
    """
    if not isinstance(patch, dict) or not depth:
        return patch
    result = dict(value) if isinstance(value, dict) else {}
    for name, change in patch.items():
        if change is None:
            result.pop(name, None)
        else:
            result[name] = merge_patch(result.get(name), change, depth - 1)
    return result


def _object(request: Request) -> dict[str, Any]:
    data = request.json()
    if not isinstance(data, dict):
        raise BadRequest(text("the body must be a JSON object"))
    return data


def _reason(request: Request) -> str:
    """Return the member "reason" of the body; "" without a body."""
    check = Check(_object(request) if request.body else {})
    check.text("reason")
    check.unknown()
    return check.result()["reason"] or ""


def _patch(request: Request) -> dict[str, Any]:
    """Return the merge patch. Raises HTTPProblem 415 for another type (RFC 5789 section 2.2)."""
    if request.content_type not in PATCHES:
        types = ", ".join(PATCHES)
        message = text("the content type must be one of: {types}", types=types)
        raise HTTPProblem(415, message, code="F522", headers=[("Accept-Patch", types)])
    return _object(request)
