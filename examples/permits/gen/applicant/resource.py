"""Applicant as data: columns, rules, constraints, relations and hooks.

Generated from resources/applicant/schema.py. Do not edit.
"""

from forge_min.actions import Check, Column, Relation, Resource

from . import sql
from .model import ApplicantRow, to_json


def check(c: Check) -> None:
    """Check the rules of the schema, one line per field."""
    c.string("name", max_len=80, required=True)
    c.email("email", max_len=320, required=True)
    c.date("born_on", max='today-18y')
    c.unknown()


RESOURCE: Resource[ApplicantRow] = Resource(
    name="Applicant",
    event="applicant",
    table="applicants",
    topic="applicants",
    columns=(
        Column("id", "uuid", nullable=False, filterable=True, sortable=True, unique=True),
        Column("name", "string", nullable=False, sortable=True, personal=True),
        Column("email", "email", nullable=False, unique=True, personal=True),
        Column("born_on", "date", personal=True, help='Applicants are of age.'),
        Column("version", "bigint", nullable=False),
        Column("created_at", "datetime", nullable=False, filterable=True, sortable=True),
        Column("updated_at", "datetime", nullable=False, filterable=True, sortable=True),
    ),
    row=ApplicantRow,
    to_json=to_json,
    check=check,
    select=sql.SELECT.rstrip(),
    insert=sql.INSERT.rstrip(),
    insert_many=sql.INSERT_MANY.rstrip(),
    constraints={
        "applicants_pkey": "id",
        "applicants_tenant_key": "id",
        "applicants_name_idx": "name",
        "applicants_email_key": "email",
    },
    source="applicants_tenant",
    timestamps=True,
    tenant_scoped=True,
    searchable=True,
    relations=(
        Relation("applications", "has_many", "applications", "applicant_id"),
    ),
    permissions={
        "read": ('clerk', 'officer'),
        "create": ('clerk',),
        "update": ('clerk',),
        "delete": ('officer',),
    },
)
