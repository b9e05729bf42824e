"""Product as data: columns, rules, constraints, relations and hooks.

Generated from resources/product/schema.py. Do not edit.
"""

from forge_min.actions import Check, Column, JobHook, Resource

from . import sql
from .model import ProductRow, to_json


def check(c: Check) -> None:
    """Check the rules of the schema, one line per field."""
    c.string("name", min_len=1, max_len=100, required=True)
    c.int("price", min=0, required=True)
    c.enum("status", ('active', 'draft', 'sold', 'archived', 'new'), required=True)
    c.unknown()


RESOURCE: Resource[ProductRow] = Resource(
    name="Product",
    event="product",
    table="products",
    topic="products",
    columns=(
        Column("id", "uuid", nullable=False, filterable=True, sortable=True, unique=True),
        Column("name", "string", nullable=False, sortable=True),
        Column("price", "int", nullable=False, sortable=True),
        Column("status", "enum", nullable=False, filterable=True, choices=('active', 'draft', 'sold', 'archived', 'new')),
        Column("version", "bigint", nullable=False),
        Column("created_at", "datetime", nullable=False, filterable=True, sortable=True),
        Column("updated_at", "datetime", nullable=False, filterable=True, sortable=True),
    ),
    row=ProductRow,
    to_json=to_json,
    check=check,
    select=sql.SELECT.rstrip(),
    insert=sql.INSERT.rstrip(),
    insert_many=sql.INSERT_MANY.rstrip(),
    constraints={
        "products_pkey": "id",
        "products_name_idx": "name",
        "products_name_min_len": "name",
        "products_price_idx": "price",
        "products_price_min": "price",
        "products_status_idx": "status",
        "products_status_check": "status",
    },
    timestamps=True,
    after_create=(
        JobHook("Announce", "default", priority=2),
    ),
)
