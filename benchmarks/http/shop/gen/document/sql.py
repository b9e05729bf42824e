"""The SQL statements of documents, generated from resources/document/schema.py. Do not edit."""

SELECT = """\
select
  "id", "name", "content", "version"
from "documents"
"""

INSERT = """\
insert into "documents" (
  "id", "name", "content"
) values (
  %(id)s, %(name)s, %(content)s
)
returning *
"""

INSERT_MANY = """\
insert into "documents" (
  "id", "name", "content"
)
select forge_given.* from unnest(
  %(id)s::uuid[],
  %(name)s::text[],
  %(content)s::jsonb[]
) as forge_given
returning *
"""
