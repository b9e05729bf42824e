"""What every peer's side of the five cases has in common: the columns, the orders, the page."""

from __future__ import annotations

import os

COLUMNS = "id, name, price, status, created_at"
ORDERS = {"-created_at": "created_at desc", "name": "name", "price": "price"}
STATUSES = ("active", "draft", "sold", "archived", "new")
URL = os.environ.get("BENCH_DATABASE_URL", "")
PAGE = """<!doctype html>
<html lang="en"><head><title>Products</title></head><body>
<h1>Products ({{ total }})</h1>
<table><thead><tr><th>Name</th><th>Price</th><th>Status</th><th>Created</th></tr></thead><tbody>
{% for row in rows %}<tr id="products-{{ row.id }}"><td>
<a href="/products/{{ row.id }}">{{ row.name }}</a></td>
<td>{{ row.price }}</td><td>{{ row.status }}</td><td>{{ row.created_at }}</td></tr>
{% endfor %}</tbody></table></body></html>"""
ROW = f"select {COLUMNS} from products where id = "
PAGE_OF = f"select {COLUMNS} from products where status = "
COUNT = "select count(*) as n from products where status = "
INSERT = "insert into products (name, price, status) values "
JOB = "insert into jobs (kind, args) values ('announce', "
