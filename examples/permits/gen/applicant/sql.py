"""The SQL statements of applicants, generated from resources/applicant/schema.py. Do not edit."""

SELECT = """\
select
  "id", "name", "email", "born_on", "version", "created_at", "updated_at"
from "applicants_tenant"
"""

INSERT = """\
insert into "applicants" (
  "id", "name", "email", "born_on", "tenant_id"
) values (
  %(id)s, %(name)s, %(email)s, %(born_on)s, %(forge_tenant)s
)
returning *
"""

INSERT_MANY = """\
insert into "applicants" (
  "id", "name", "email", "born_on", "tenant_id"
)
select forge_given.*, %(forge_tenant)s::uuid from unnest(
  %(id)s::uuid[],
  %(name)s::text[],
  %(email)s::text[],
  %(born_on)s::date[]
) as forge_given
returning *
"""
