"""The SQL statements of flights, generated from resources/flight/schema.py. Do not edit."""

SELECT = """\
select
  "id", "number", "origin_id", "destination_id", "status", "gate", "departs_at",
  "arrives_at", "version", "created_at", "updated_at"
from "flights"
"""

INSERT = """\
insert into "flights" (
  "id", "number", "origin_id", "destination_id", "status", "gate", "departs_at",
  "arrives_at"
) values (
  %(id)s, %(number)s, %(origin_id)s, %(destination_id)s, %(status)s, %(gate)s,
  %(departs_at)s, %(arrives_at)s
)
returning *
"""

INSERT_MANY = """\
insert into "flights" (
  "id", "number", "origin_id", "destination_id", "status", "gate", "departs_at",
  "arrives_at"
)
select forge_given.* from unnest(
  %(id)s::uuid[],
  %(number)s::text[],
  %(origin_id)s::uuid[],
  %(destination_id)s::uuid[],
  %(status)s::text[],
  %(gate)s::text[],
  %(departs_at)s::timestamptz[],
  %(arrives_at)s::timestamptz[]
) as forge_given
returning *
"""
