"""The JSON API of one resource: requests become actions, rows become answers. No SQL, no rules.

The contract is docs/reference/http.md: lists with cursors and a Link header (RFC 8288), ETag from
the row's version, If-Match and If-None-Match (RFC 9110 section 13.1), PATCH as a merge (RFC 7396),
PUT as a whole.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from ..actions import Actions, ListQuery, Page
from ..errors import BadRequest, NotFound
from .request import Request
from .response import Headers, Response, json_response, no_content
from .router import Handler


class ResourceAPI:
    """Handlers of one resource. path: where its list lies, "/api/v1/flights"."""

    def __init__(self, actions: Actions[Any], path: str) -> None:
        self._actions = actions
        self._path = path
        self._to_json = actions.resource.to_json

    def list(self, request: Request) -> Response:
        """GET: one page."""
        query = ListQuery.parse(self._actions.resource, request.query)
        page = self._actions.list(query)
        pagination: dict[str, Any] = {"next": page.next, "prev": page.prev}
        more = page.next is not None
        if query.page is not None:
            pages = -(-(page.total or 0) // query.limit)
            pagination = {"page": query.page, "per_page": query.limit}
            pagination |= {"total": page.total, "pages": pages}
            more = query.page < pages
        pagination["has_more"] = more
        body = {"data": [self._to_json(row) for row in page.rows], "pagination": pagination}
        return json_response(body, headers=self._links(request, page))

    def get(self, request: Request) -> Response:
        """GET one, 304 when the client has this version."""
        row = self._actions.get(self._id(request))
        etag = _etag(row)
        if request.has_match(etag):
            return Response(304, b"", [("ETag", etag)])
        return json_response(self._to_json(row), headers=[("ETag", etag)])

    def create(self, request: Request) -> Response:
        """POST: 201 with Location."""
        row = self._actions.create(_object(request))
        headers = [("Location", f"{self._path}/{row.id}"), ("ETag", _etag(row))]
        return json_response(self._to_json(row), 201, headers)

    def update(self, request: Request) -> Response:
        """PATCH: what is absent stays, null clears."""
        row = self._actions.update(self._id(request), _object(request), version=_version(request))
        return json_response(self._to_json(row), headers=[("ETag", _etag(row))])

    def replace(self, request: Request) -> Response:
        """PUT: what is absent gets its default."""
        row = self._actions.replace(self._id(request), _object(request), version=_version(request))
        return json_response(self._to_json(row), headers=[("ETag", _etag(row))])

    def delete(self, request: Request) -> Response:
        """DELETE: 204."""
        self._actions.delete(self._id(request), version=_version(request))
        return no_content()

    def verb(self, function: Callable[..., Any], doc: str | None) -> Handler:
        """A handler of the user's verb: function(id, request) → row."""

        def handler(request: Request) -> Response:
            row = function(self._id(request), request)
            return json_response(self._to_json(row), headers=[("ETag", _etag(row))])

        handler.__doc__ = doc
        return handler

    def _id(self, request: Request) -> UUID:
        text = request.params["id"]
        try:
            if len(text) != 36:
                raise ValueError(text)
            return UUID(text)
        except ValueError:
            raise NotFound(f"there is no {self._actions.resource.event} of this id") from None

    def _links(self, request: Request, page: Page[Any]) -> Headers:
        given = {name: values for name, values in request.query.items() if name != "cursor"}
        links = [
            f'<{self._path}?{urlencode({**given, "cursor": [token]}, doseq=True)}>; rel="{rel}"'
            for rel, token in (("next", page.next), ("prev", page.prev))
            if token is not None
        ]
        return [("Link", ", ".join(links))] if links else []


def _object(request: Request) -> dict[str, Any]:
    data = request.json()
    if not isinstance(data, dict):
        raise BadRequest("the body must be a JSON object")
    return data


def _etag(row: Any) -> str:
    return f'"{row.version}"'


def _version(request: Request) -> int | None:
    """The version that If-Match names; None for none or "*". A foreign or weak tag can match
    nothing.
    """
    header = request.header("If-Match")
    if header is None or header.strip() == "*":
        return None
    text = header.strip()
    number = text[1:-1] if len(text) > 2 and text[0] == text[-1] == '"' else ""
    return int(number) if number.isascii() and number.isdigit() and len(number) < 19 else -1
