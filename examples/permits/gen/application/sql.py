"""The SQL statements of applications, generated from resources/application/schema.py. Do not edit."""

SELECT = """\
select
  "id", "number", "applicant_id", "status", "kind", "subject", "zones", "begins_on",
  "ends_on", "fee", "version", "created_at", "updated_at", "created_by"
from "applications_tenant"
"""

INSERT = """\
insert into "applications" (
  "id", "number", "applicant_id", "status", "kind", "subject", "zones", "begins_on",
  "ends_on", "fee", "tenant_id", "created_by"
) values (
  %(id)s, %(number)s, %(applicant_id)s, %(status)s, %(kind)s, %(subject)s, %(zones)s,
  %(begins_on)s, %(ends_on)s, %(fee)s, %(forge_tenant)s, nullif(%(forge_actor)s::text, '')
)
returning *
"""

INSERT_MANY = """\
insert into "applications" (
  "id", "number", "applicant_id", "status", "kind", "subject", "zones", "begins_on",
  "ends_on", "fee", "tenant_id", "created_by"
)
select "id", "number", "applicant_id", "status", "kind", "subject", "zones"::text[], "begins_on",
  "ends_on", "fee", %(forge_tenant)s::uuid, nullif(%(forge_actor)s::text, '') from unnest(
  %(id)s::uuid[],
  %(number)s::text[],
  %(applicant_id)s::uuid[],
  %(status)s::text[],
  %(kind)s::text[],
  %(subject)s::text[],
  %(zones)s::text[],
  %(begins_on)s::date[],
  %(ends_on)s::date[],
  %(fee)s::numeric[]
) as forge_given (
  "id", "number", "applicant_id", "status", "kind", "subject", "zones", "begins_on",
  "ends_on", "fee"
)
returning *
"""
