"""The SQL statements of slots, generated from resources/slot/schema.py. Do not edit."""

SELECT = """\
select
  "id", "officer_id", "day", "begins_at", "length", "places", "version"
from "slots_tenant"
"""

INSERT = """\
insert into "slots" (
  "id", "officer_id", "day", "begins_at", "length", "places", "tenant_id"
) values (
  %(id)s, %(officer_id)s, %(day)s, %(begins_at)s, %(length)s, %(places)s, %(forge_tenant)s
)
returning *
"""

INSERT_MANY = """\
insert into "slots" (
  "id", "officer_id", "day", "begins_at", "length", "places", "tenant_id"
)
select forge_given.*, %(forge_tenant)s::uuid from unnest(
  %(id)s::uuid[],
  %(officer_id)s::uuid[],
  %(day)s::date[],
  %(begins_at)s::time[],
  %(length)s::interval[],
  %(places)s::integer[]
) as forge_given
returning *
"""
