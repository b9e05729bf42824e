"""The SQL statements of countries, generated from resources/country/schema.py. Do not edit."""

SELECT = """\
select
  "id", "code", "name", "version", "created_at", "updated_at"
from "countries"
"""

INSERT = """\
insert into "countries" (
  "id", "code", "name"
) values (
  %(id)s, %(code)s, %(name)s
)
returning *
"""

INSERT_MANY = """\
insert into "countries" (
  "id", "code", "name"
)
select forge_given.* from unnest(
  %(id)s::uuid[],
  %(code)s::text[],
  %(name)s::text[]
) as forge_given
returning *
"""
