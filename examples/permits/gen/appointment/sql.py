"""The SQL statements of appointments, generated from resources/appointment/schema.py. Do not edit."""

SELECT = """\
select
  "id", "slot_id", "application_id", "note", "version", "created_at", "updated_at"
from "appointments_tenant"
"""

INSERT = """\
insert into "appointments" (
  "id", "slot_id", "application_id", "note", "tenant_id"
) values (
  %(id)s, %(slot_id)s, %(application_id)s, %(note)s, %(forge_tenant)s
)
returning *
"""

INSERT_MANY = """\
insert into "appointments" (
  "id", "slot_id", "application_id", "note", "tenant_id"
)
select forge_given.*, %(forge_tenant)s::uuid from unnest(
  %(id)s::uuid[],
  %(slot_id)s::uuid[],
  %(application_id)s::uuid[],
  %(note)s::text[]
) as forge_given
returning *
"""
