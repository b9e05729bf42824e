"""A bare WSGI application for granian: no router, no validation, one connection a thread."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable
from html import escape
from typing import Any
from urllib.parse import parse_qs

import psycopg
from shared import COLUMNS, COUNT, INSERT, JOB, ORDERS, PAGE_OF, ROW, STATUSES, URL

HEAD = (
    '<!doctype html>\n<html lang="en"><head><title>Products</title></head><body>\n'
    "<h1>Products ({})</h1>\n<table><thead><tr><th>Name</th><th>Price</th><th>Status</th>"
    "<th>Created</th></tr></thead><tbody>\n"
)
LINE = (
    '<tr id="products-{0}"><td>\n<a href="/products/{0}">{1}</a></td>\n'
    "<td>{2}</td><td>{3}</td><td>{4}</td></tr>\n"
)
own = threading.local()
Row = tuple[Any, ...]


def run(statement: str, *values: object) -> list[Row]:
    """The rows of a statement on this thread's connection."""
    if not hasattr(own, "conn"):
        own.conn = psycopg.connect(URL, autocommit=True)
    return list(own.conn.execute(statement, values).fetchall())


def plain(row: Row) -> dict[str, Any]:
    """A row as JSON has it."""
    id, name, price, status, created = row
    values = {"id": str(id), "name": name, "price": price, "status": status}
    return values | {"created_at": created.isoformat()}


def page_of(status: str, sort: str) -> tuple[list[Row], int]:
    """25 rows and the count of all."""
    rows = run(f"{PAGE_OF}%s order by {ORDERS[sort]} limit 25", status)
    return rows, run(COUNT + "%s", status)[0][0]


def create(data: Any) -> tuple[str, object]:
    """Case create."""
    name, price = data.get("name"), data.get("price")
    good = isinstance(name, str) and 1 <= len(name) <= 100 and isinstance(price, int)
    if not good or price < 0 or data.get("status") not in STATUSES:
        return "422 Unprocessable Entity", {"errors": ["something is wrong"]}
    run("select 1")  # so that the thread has its connection
    with own.conn.transaction():
        (made,) = run(f"{INSERT}(%s, %s, %s) returning {COLUMNS}", name, price, data["status"])
        own.conn.execute(JOB + "%s)", [json.dumps({"id": str(made[0])})])
    return "201 Created", plain(made)


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """All cases."""
    path, status, kind = environ["PATH_INFO"], "200 OK", "application/json"
    answer: object = {}
    if path == "/hello":
        answer = {"message": "hello"}
    elif path == "/products" and environ["REQUEST_METHOD"] == "POST":
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        status, answer = create(json.loads(body))
    elif path == "/products":
        query = parse_qs(environ["QUERY_STRING"])
        rows, total = page_of(query["status"][0], query["sort"][0])
        answer = {"data": [plain(row) for row in rows], "total": total}
    elif path.startswith("/products/"):
        found = run(ROW + "%s", path[10:])
        status, answer = ("200 OK", plain(found[0])) if found else ("404 Not Found", {})
    elif path == "/html":
        rows, total = page_of("active", "-created_at")
        lines = (LINE.format(i, escape(n), p, escape(s), c) for i, n, p, s, c in rows)
        answer = HEAD.format(total) + "".join(lines) + "</tbody></table></body></html>"
        kind = "text/html; charset=utf-8"
    else:
        status = "404 Not Found"
    data = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
    start_response(status, [("Content-Type", kind), ("Content-Length", str(len(data)))])
    return [data]
