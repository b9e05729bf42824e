"""The SQL statements of notes, generated from resources/note/schema.py. Do not edit."""

SELECT = """\
select
  "id", "title", "body", "done", "version", "created_at", "updated_at"
from "notes"
"""

INSERT = """\
insert into "notes" (
  "id", "title", "body", "done"
) values (
  %(id)s, %(title)s, %(body)s, %(done)s
)
returning *
"""

INSERT_MANY = """\
insert into "notes" (
  "id", "title", "body", "done"
)
select forge_given.* from unnest(
  %(id)s::uuid[],
  %(title)s::text[],
  %(body)s::text[],
  %(done)s::boolean[]
) as forge_given
returning *
"""
