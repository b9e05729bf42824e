"""The statements of items, generated from resources/item/schema.py. Do not edit."""

SELECT = """\
select
  "id", "title", "done", "version", "created_at", "updated_at"
from "items"
"""

INSERT = """\
insert into "items" (
  "id", "title", "done"
) values (
  %(id)s, %(title)s, %(done)s
)
returning *
"""

INSERT_MANY = """\
insert into "items" (
  "id", "title", "done"
)
select forge_given.* from unnest(
  %(id)s::uuid[],
  %(title)s::text[],
  %(done)s::boolean[]
) as forge_given
returning *
"""
