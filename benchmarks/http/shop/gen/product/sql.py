"""The SQL statements of products, generated from resources/product/schema.py. Do not edit."""

SELECT = """\
select
  "id", "name", "price", "status", "version", "created_at", "updated_at"
from "products"
"""

INSERT = """\
insert into "products" (
  "id", "name", "price", "status"
) values (
  %(id)s, %(name)s, %(price)s, %(status)s
)
returning *
"""

INSERT_MANY = """\
insert into "products" (
  "id", "name", "price", "status"
)
select forge_given.* from unnest(
  %(id)s::uuid[],
  %(name)s::text[],
  %(price)s::integer[],
  %(status)s::text[]
) as forge_given
returning *
"""
