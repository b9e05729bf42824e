"""The SQL statements of officers, generated from resources/officer/schema.py. Do not edit."""

SELECT = """\
select
  "id", "name", "room", "languages", "version"
from "officers_tenant"
"""

INSERT = """\
insert into "officers" (
  "id", "name", "room", "languages", "tenant_id"
) values (
  %(id)s, %(name)s, %(room)s, %(languages)s, %(forge_tenant)s
)
returning *
"""

INSERT_MANY = """\
insert into "officers" (
  "id", "name", "room", "languages", "tenant_id"
)
select "id", "name", "room", "languages"::text[], %(forge_tenant)s::uuid from unnest(
  %(id)s::uuid[],
  %(name)s::text[],
  %(room)s::text[],
  %(languages)s::text[]
) as forge_given (
  "id", "name", "room", "languages"
)
returning *
"""
