"""The Flask side of the five cases, written as its documentation would, with a pool.

BENCH_DATABASE_URL names the database of schema.sql; without it only /hello answers.
"""

from __future__ import annotations

import json
import uuid
from typing import Any

from flask import Flask, abort, jsonify, render_template, request
from jinja2 import DictLoader
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool
from shared import COLUMNS, COUNT, INSERT, JOB, ORDERS, PAGE, PAGE_OF, ROW, STATUSES, URL

app = Flask(__name__)


app.jinja_loader = DictLoader({"products.html": PAGE})
OPTIONS = {"autocommit": True, "row_factory": dict_row}
# Eight connections, one for each thread; gunicorn imports this in its worker, after the fork.
pool = ConnectionPool[Any](URL, min_size=8, max_size=8, kwargs=OPTIONS, open=bool(URL))


def plain(row: dict[str, Any]) -> dict[str, Any]:
    """A row as JSON has it."""
    return {**row, "id": str(row["id"]), "created_at": row["created_at"].isoformat()}


def page_of(status: str, order: str) -> tuple[list[dict[str, Any]], int]:
    """25 rows and the count of all."""
    with pool.connection() as conn:
        rows = conn.execute(f"{PAGE_OF}%s order by {order} limit 25", [status]).fetchall()
        total = conn.execute(COUNT + "%s", [status]).fetchone()
    return rows, total["n"] if total else 0


def mistakes(data: Any) -> list[str]:
    """What is wrong with a new product."""
    if not isinstance(data, dict):
        return ["an object is expected"]
    found = []
    name, price = data.get("name"), data.get("price")
    if not isinstance(name, str) or not 1 <= len(name) <= 100:
        found.append("name has 1 to 100 characters")
    if not isinstance(price, int) or isinstance(price, bool) or price < 0:
        found.append("price is 0 or more")
    if data.get("status") not in STATUSES:
        found.append("status is not known")
    return found


@app.get("/hello")
def hello() -> Any:
    """Case hello."""
    return jsonify(message="hello")


@app.get("/products/<product_id>")
def row(product_id: str) -> Any:
    """Case row."""
    try:
        key = uuid.UUID(product_id)
    except ValueError:
        abort(404)
    with pool.connection() as conn:
        found = conn.execute(ROW + "%s", [key]).fetchone()
    return jsonify(plain(found)) if found else abort(404)


@app.get("/products")
def rows() -> Any:
    """Case list: filter, sort, count."""
    order = ORDERS.get(request.args.get("sort", "-created_at")) or abort(400)
    found, total = page_of(request.args.get("status", "active"), order)
    return jsonify(data=[plain(item) for item in found], total=total)


@app.post("/products")
def create() -> Any:
    """Case create: validate, then row and job in one transaction."""
    data = request.get_json()
    if found := mistakes(data):
        return jsonify(errors=found), 422
    with pool.connection() as conn, conn.transaction():
        made = conn.execute(
            f"{INSERT}(%s, %s, %s) returning {COLUMNS}",
            [data["name"], data["price"], data["status"]],
        ).fetchone()
        conn.execute(
            JOB + "%s)",
            [json.dumps({"id": str(made["id"])})],
        )
    return jsonify(plain(made)), 201


@app.get("/html")
def page() -> Any:
    """Case html: a page of 25 rows."""
    found, total = page_of("active", "created_at desc")
    return render_template("products.html", rows=found, total=total)


for number in range(45):
    app.add_url_rule(f"/things{number}", f"things{number}", hello)
