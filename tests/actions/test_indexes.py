"""Which lists an index serves, and the line of a schema for those that none serves."""

from __future__ import annotations

from typing import Any

import pytest
from forge_min import db
from forge_min.actions import INDEXES, Column, ListQuery, shape_of

from bookshop import BOOKS, KEY, VERSION, Bookshop, resource

pytestmark = pytest.mark.db
INDEX_SQL = """
create index on books (tenant_id, sold, printed desc, id desc);
create index on books (tenant_id, pages) where sold;
create index on books (tenant_id, (price + 1), printed);
create unique index on books (tenant_id, sold, pages) where deleted_at is null;
"""


@pytest.mark.parametrize(
    ("filters", "sort", "line"),
    [
        # Served: by the key, by the index of a column, by one of several columns.
        ({}, "", ""),
        ({"title": "a"}, "", ""),
        ({"title[gte]": "a"}, "", ""),
        ({}, "-price", ""),
        ({}, "price,id", ""),
        ({}, "-price,-id", ""),
        ({"sold": True}, "-printed", ""),
        ({"sold": True}, "printed", ""),
        ({"sold[in]": [True]}, "printed,id", ""),
        ({"sold": True}, "sold,printed", ""),
        ({}, "sold,-printed,-id", ""),
        ({"sold": True, "pages": 3}, "", ""),  # by an index of all rows that are not deleted
        # Not served.
        ({}, "price,-id", '"price", "-id"'),
        ({}, "title,price", '"title", "price", "id"'),
        ({}, "-sold,price", '"-sold", "price", "id"'),
        ({"sold": True}, "title", '"sold", "title", "id"'),
        ({"sold": None, "title": "a"}, "", '"sold", "title"'),
        ({"title": "a", "price[gt]": 3}, "", '"title", "price"'),
        ({"title": "a", "price[gt]": 3}, "-pages", '"title", "-pages", "-id"'),
        ({"title[ne]": "a"}, "printed,pages", '"printed", "pages", "id"'),
        ({"title[in]": ["a", "b"]}, "printed,pages", '"printed", "pages", "id"'),
        ({"pages": 3}, "", '"pages"'),  # its index has a condition
        ({"printed[gt]": "2020-01-01T00:00:00Z"}, "", '"printed"'),  # behind an expression
        # No index of a schema helps.
        ({"title[contains]": "a"}, "sold,price", ""),
    ],
)
def test_a_list_without_an_index_has_the_line_that_serves_it(
    shop: Bookshop, filters: dict[str, Any], sort: str, line: str
) -> None:
    shop.owner.execute(INDEX_SQL)
    query = ListQuery.of(BOOKS, filters, sort=sort)
    indexes = db.run(shop.database.connection(), INDEXES, {"table": "books"})
    wanted = f"schema.index({line})" if line else ""
    assert shape_of(BOOKS, query).missing_index(indexes) == wanted


def test_a_search_is_served_by_its_own_index(shop: Bookshop) -> None:
    assert (
        shape_of(BOOKS, ListQuery.of(BOOKS, {"sold": True}, q="a")).missing_index([(["id"],)]) == ""
    )


def test_a_list_without_an_array_needs_no_index_that_a_schema_refuses() -> None:
    cars = resource("Car", KEY, Column("parts", "string[]", filterable=True), VERSION)
    query = ListQuery.of(cars, {"parts[is_null]": True})
    assert shape_of(cars, query).missing_index([(["id"],)]) == ""
