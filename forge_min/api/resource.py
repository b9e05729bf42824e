"""The JSON API of one resource: requests become actions, rows become answers. No SQL, no rules.

The contract is docs/reference/http.md: lists with cursors and a Link header (RFC 8288), ETag from
the row's version, If-Match and If-None-Match (RFC 9110 section 13.1), PATCH as a merge (RFC 7396),
PUT as a whole, Idempotency-Key on POST, related rows by `?include=`.
"""

from __future__ import annotations

import hashlib
import random
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any
from urllib.parse import quote, urlencode
from zlib import crc32

from ..actions import ANY_VERSION, JSON_DEPTH, MAX_PAGE, TOO_LARGE, TYPES, Actions, ListQuery, Page
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
from ..i18n import text
from ..lazy import lazy_pattern
from ..wsgi import (
    Handler,
    Headers,
    HTTPProblem,
    Request,
    Response,
    json_response,
    network,
    no_content,
    to_json,
)

# A strong tag of ours: the version, and a mark where the identity does not see every field.
_TAG = lazy_pattern(r'(?:^|,)\s*"([1-9][0-9]{0,17})(?:\.[0-9a-f]{8})?"\s*(?=,|$)', re.ASCII)
TRIES = 10  # of a change that names no version, while others change the row too
_APART = 0.005  # seconds, times the tries so far: two that write in turns fall out of step
PATCHES = ("application/merge-patch+json", "application/json")  # what a PATCH may be
_PLAIN = lazy_pattern(r"(?:[\w.~-]+=[\w.~-]*+(?:&(?!$)|$))++", re.ASCII)
"""A query that stays as it is when it is decoded and encoded again."""
_VISIBLE = lazy_pattern(r"[!-~]{1,255}")

Answer = tuple[int, list[tuple[str, str]], bytes]
"""Status, headers and body, as an Idempotency-Key keeps them."""


class ResourceAPI:
    """Handlers of one resource. path: where its list lies, "/api/v1/flights"."""

    def __init__(self, actions: Actions[Any, Any, Any], path: str) -> None:
        self._actions = actions
        self._path = path
        # Code of the project runs once in a request; what the library composed may run again.
        self._composes = actions.is_inherited("create", "validate")
        self._repeats = actions.is_inherited("update", "replace", "delete", "restore")

    def list(self, request: Request) -> Response:
        """GET: one page."""
        self._actions.allow("read")
        most = self._actions.registry.max_conditions
        query = ListQuery.parse(self._actions.resource, request.query, max_conditions=most)
        while True:
            page = self._actions.list(query)
            try:
                return self._listed(request, query, page)
            except BadRequest as err:
                fewer = len(page.rows) // 2
                if err.code != TOO_LARGE or query.page is not None or not fewer:
                    raise
            query = replace(query, limit=fewer)

    def _listed(self, request: Request, query: ListQuery, page: Page[Any]) -> Response:
        """The response of a page. Raises BadRequest F646."""
        if query.page is None:
            pagination, links = _by_cursor(page), _links(request, page)
        else:
            pages = -(-(page.total or 0) // query.limit)
            pagination = {"page": query.page, "per_page": query.limit}
            pagination |= {"total": page.total, "pages": pages, "has_more": query.page < pages}
            links = _numbered(request, query.page, pages)
        data = self._actions.to_json_many(page.rows, query.include)
        body = to_json({"data": data, "pagination": pagination})
        if len(page.rows) > 1 and len(body) > self._actions.limits.response:
            raise self._actions.limits.too_large()
        return Response(200, body, [("Content-Type", "application/json"), *links])

    def get(self, request: Request) -> Response:
        """GET one, 304 when the client has this version."""
        self._actions.allow("read")
        names: tuple[str, ...] = ()
        if given := request.query.get("include"):
            names = ListQuery.parse(self._actions.resource, {"include": given}).include
        row = self._actions.get(self._key(request))
        etag = self._etag(row)
        if names:  # of other rows the version knows nothing
            (shown,) = self._actions.to_json_many([row], names)
        elif request.has_match(etag):
            return Response(304, b"", [("ETag", etag)])
        else:
            shown = self._actions.to_json(row)
        return json_response(shown, headers=[("ETag", etag)])

    def create(self, request: Request) -> Response:
        """POST: 201 with Location; with Idempotency-Key at most once."""
        self._actions.allow("create")
        data = _object(request)
        run = partial(self._created, request.root, data)
        return self._once(request, "create", run, repeatable=self._composes)

    def update(self, request: Request) -> Response:
        """PATCH: what is absent stays, null clears, inside a field of type json too."""
        return self._shown(self._changed("update", self._merged, request, _patch))

    def replace(self, request: Request) -> Response:
        """PUT: what is absent gets its default."""
        return self._shown(self._changed("update", self._actions.replace, request, _object))

    def delete(self, request: Request) -> Response:
        """DELETE: 204."""
        self._changed("delete", self._actions.delete, request)
        return no_content()

    def restore(self, request: Request) -> Response:
        """POST: a deleted row is there again."""

        def run(_: Connection | None) -> Answer:
            return _kept(self._shown(self._changed("restore", self._actions.restore, request)))

        return self._once(request, "restore", run, repeatable=self._repeats)

    def audit(self, request: Request) -> Response:
        """GET: the changes of one row, the newest first."""
        self._actions.allow("audit")
        if not request.query.keys() <= {"limit", "cursor"}:
            raise BadRequest(text("this list takes limit and cursor only"))
        query = ListQuery.parse(self._actions.resource, request.query)
        key = self._key(request)
        page = self._actions.audit_log(key, limit=query.limit, cursor=query.cursor)
        data = [entry.to_json() for entry in page.rows]
        body = {"data": data, "pagination": _by_cursor(page)}
        return json_response(body, headers=_links(request, page))

    def verb(self, function: Callable[..., Any], doc: str | None, operation: str = "") -> Handler:
        """A handler of the user's verb: function(key, request) → row. operation: the name that a
        permission may give it.
        """

        def handler(request: Request) -> Response:
            self._actions.allow(operation)
            key = self._key(request)
            return self._once(
                request, operation, lambda _: _kept(self._shown(function(key, request)))
            )

        handler.__doc__ = doc
        return handler

    def _once(
        self,
        request: Request,
        operation: str,
        run: Callable[[Connection | None], Answer],
        *,
        repeatable: bool = False,
    ) -> Response:
        """What `run` answers; with an Idempotency-Key at most once. repeatable: as in `once`."""
        key = request.header("Idempotency-Key")
        if key is None:
            status, headers, body = run(None)
            return Response(status, body, headers)
        if not _VISIBLE.fullmatch(key):
            raise BadRequest(text("Idempotency-Key must be 1 to 255 visible ASCII characters"))
        digest = hashlib.sha256(request.body).hexdigest()
        # Of a row: which, and what is done to it.
        path = request.path.removeprefix(self._path) if request.params else ""
        client = network(request.environ.get("REMOTE_ADDR", ""))
        status, headers, body, replayed = self._actions.once(
            key, digest, run, operation=operation, path=path, client=client, repeatable=repeatable
        )
        if replayed:
            headers = [*headers, ("Idempotency-Replayed", "true")]
        return Response(status, body, headers)

    def _created(self, root: str, data: dict[str, Any], conn: Connection | None) -> Answer:
        row = self._actions.create(data, conn=conn)
        place = f"{root}{self._path}/{quote(str(self._actions.key_of(row)), safe='')}"
        headers = [
            ("Content-Type", "application/json"),
            ("Location", place),
            ("ETag", self._etag(row)),
        ]
        return 201, headers, to_json(self._actions.to_json(row))

    def _changed(
        self,
        operation: str,
        action: Callable[..., Any],
        request: Request,
        *given: Callable[[Request], dict[str, Any]],
    ) -> Any:
        """What `action` gives for the request's row. given: what it takes beside key and version.

        Who may not do it is told so before anything else.
        """
        self._actions.allow(operation)
        key = self._key(request)
        data = [self._given(request, key, read(request)) for read in given]
        for tried in range(TRIES):
            version = self._version(request, key)
            try:
                return action(key, *data, version=version)
            except StaleVersion:
                # Somebody wrote between the reading and the writing of a merge.
                named = request.header("If-Match") and version != ANY_VERSION
                if named or version == -1 or tried == TRIES - 1 or not self._repeats:
                    raise
                time.sleep(random.uniform(0, _APART * tried))
        raise AssertionError("the last try returns or raises")

    def _given(self, request: Request, key: Any, data: dict[str, Any]) -> dict[str, Any]:
        """The data without what the server keeps and what the identity may not write, where that is
        as a GET gives it: a row may come back as it was read. Raises Invalid for another value of
        what is kept; the action refuses the others.
        """
        refused = self._actions.refused()
        served = [name for name in data if name in self._actions.served]
        if not served and refused.isdisjoint(data):
            return data
        try:
            row = self._actions.get(key)
        except (Forbidden, Unauthenticated):
            return data  # to be refused: nobody learns by a guess what he may not read
        now = self._actions.to_json(row)
        message = text("is kept by the server, and is not this")
        wrong = [name for name in served if name not in now or data[name] != now[name]]
        # Of a version that is over the action says so: who has read that one sends it back.
        if wrong and self._version(request, key) in (None, ANY_VERSION, row.version):
            raise Invalid([FieldError(f"/{name}", "not_writable", message) for name in wrong])
        same = {name for name in refused.intersection(data, now) if _is_now(data[name], now[name])}
        return {name: data[name] for name in data if name not in served and name not in same}

    def _merged(self, key: Any, data: dict[str, Any], *, version: int | None) -> Any:
        """The action, with each object for a json column merged into what the column holds, as far
        as the identity sees it: nobody learns by a merge what it hides.
        """
        columns = self._actions.resource.columns
        inside = [c for c in columns if c.type == "json" and isinstance(data.get(c.name), dict)]
        if not inside or (version is None and self._actions.resource.versioned):
            return self._actions.update(key, data, version=version)
        row = None
        with suppress(Forbidden, Unauthenticated):
            row = self._actions.get(key)
            any_version = version in (None, ANY_VERSION)
            version = row.version if any_version or version == row.version else -1
        held = {c.name: getattr(row, c.attribute or c.name, None) for c in inside}
        data = data | {name: merged(value, data[name]) for name, value in held.items()}
        return self._actions.update(key, data, version=version)

    def _shown(self, row: Any) -> Response:
        return json_response(self._actions.to_json(row), headers=[("ETag", self._etag(row))])

    def _etag(self, row: Any) -> str:
        hidden = self._actions.hidden()
        if not hidden:
            return f'"{row.version}"'
        return f'"{row.version}.{crc32(",".join(sorted(hidden)).encode()):08x}"'

    def _key(self, request: Request) -> Any:
        return self._actions.read_key(request.params["id"])

    def _version(self, request: Request, key: Any) -> int | None:
        """The version that If-Match asks for; None for any. What can match nothing is -1: a weak
        tag, a foreign one, or several of which none is the row's.
        """
        header, other = request.header("If-Match"), request.header("If-None-Match")
        if header is None and other is not None:
            return self._other_version(key, other)
        if header is None:
            return None
        if header.strip() == "*":
            return ANY_VERSION  # RFC 9110 section 13.1.1
        named = {int(number) for number in _TAG.findall(header)}
        if len(named) < 2:
            return named.pop() if named else -1
        now = self._present(key)
        return now if now in named else -1

    def _other_version(self, key: Any, header: str) -> int | None:
        """The same of If-None-Match (RFC 9110 section 13.1.2), which names what it must not be."""
        named = {int(number) for number in _TAG.findall(header.replace("W/", ""))}
        if header == "*" or named and (now := self._present(key)) in named:
            return -1  # there is a row, or there is none to change
        # A version that is over does not come again, however many write.
        return (ANY_VERSION if max(named) < now else now) if named else None

    def _present(self, key: Any) -> int:
        """The row's version; of none -1, which the action says to whom it may be said. Of one that
        is marked as deleted too, for it may be restored.
        """
        try:
            return int(self._actions.public(key, live=False).version)
        except NotFound:
            return -1


def _is_now(given: object, now: object) -> bool:
    """Of a request's value: a fraction is exact there, and a double inside of a json column."""
    with suppress(ValueError):  # of what no column takes
        read = TYPES["json"].read
        return bool(read(given) == read(now))
    return False


def _kept(response: Response) -> Answer:
    """An answer of bytes, as an Idempotency-Key keeps it."""
    assert isinstance(response.body, bytes)
    return response.status, [*response.headers], response.body


def _by_cursor(page: Page[Any]) -> dict[str, Any]:
    return {"next": page.next, "prev": page.prev, "has_more": page.next is not None}


def _links(request: Request, page: Page[Any]) -> Headers:
    """The other pages of a list by cursor (RFC 8288)."""
    tokens = {"next": page.next, "prev": page.prev}
    return _link(request, "cursor", {rel: token for rel, token in tokens.items() if token})


def _numbered(request: Request, page: int, pages: int) -> Headers:
    """The other pages of a list by number; beyond the last one, the one before is the last."""
    most = min(pages, MAX_PAGE)
    numbers = {"first": 1, "prev": min(page - 1, pages), "next": page + 1, "last": pages}
    there = {rel: str(number) for rel, number in numbers.items() if 1 <= number <= most}
    return _link(request, "page", there)


def _link(request: Request, name: str, found: dict[str, str]) -> Headers:
    """The same address with another value of this parameter, for each relation."""
    if not found:
        return []
    path, others = request.root + quote(request.path), _without(request, name)
    links = [
        f'<{path}?{others}{urlencode({name: value})}>; rel="{rel}"' for rel, value in found.items()
    ]
    return [("Link", ", ".join(links))]


def _without(request: Request, name: str) -> str:
    """The query but for one parameter, encoded, with "&" at its end; "" where that is all."""
    line = request.environ.get("QUERY_STRING", "")
    if _PLAIN.fullmatch(line):
        # PERF: as it would be encoded; to do it takes 9 µs of a page (benchmarks/http, list).
        return "".join(f"{pair}&" for pair in line.split("&") if not pair.startswith(f"{name}="))
    others = {key: values for key, values in request.query.items() if key != name}
    return f"{urlencode(others, doseq=True)}&" if others else ""


def merged(value: object, patch: object, depth: int = JSON_DEPTH) -> object:
    """`value` after a merge patch (RFC 7396 section 2). What lies deeper than `depth` stays as it
    is given: no field takes it.
    """
    if not isinstance(patch, dict) or not depth:
        return patch
    made = dict(value) if isinstance(value, dict) else {}
    for name, change in patch.items():
        if change is None:
            made.pop(name, None)
        else:
            made[name] = merged(made.get(name), change, depth - 1)
    return made


def _object(request: Request) -> dict[str, Any]:
    data = request.json()
    if not isinstance(data, dict):
        raise BadRequest(text("the body must be a JSON object"))
    return data


def _patch(request: Request) -> dict[str, Any]:
    """The merge patch. Raises HTTPProblem 415 for another kind (RFC 5789 section 2.2)."""
    if request.content_type not in PATCHES:
        headers = [("Accept-Patch", ", ".join(PATCHES))]
        message = text("send {type}", type=PATCHES[0])
        raise HTTPProblem(415, message, code="F522", headers=headers)
    return _object(request)
