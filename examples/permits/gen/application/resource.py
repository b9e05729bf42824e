"""Application as data: columns, rules, constraints, relations and hooks.

Generated from resources/application/schema.py. Do not edit.
"""

from forge_min.actions import (
    Check,
    Column,
    DeclaredReport,
    Relation,
    Resource,
    Rule,
    Transition,
)

from . import sql
from .model import ApplicationRow, to_json


def check(c: Check) -> None:
    """Check the rules of the schema, one line per field."""
    c.string("number", max_len=12, required=True)
    c.uuid("applicant_id", required=True)
    c.enum("status", ('draft', 'submitted', 'rejected', 'approved', 'withdrawn'), default='draft', required=True)
    c.enum("kind", ('building', 'event', 'kiosk'), required=True)
    c.text("subject", max_len=500, required=True)
    c.array("zones", "string", max_items=5)
    c.date("begins_on", required=True)
    c.date("ends_on", required=True)
    c.decimal("fee", default='25.00', precision=(9, 2), min=0, required=True)
    c.condition(('ends_on', 'begins_on'), 'ends_on >= begins_on', 'A permit ends on its first day or later.')
    c.unknown()


RESOURCE: Resource[ApplicationRow] = Resource(
    name="Application",
    event="application",
    table="applications",
    topic="applications",
    columns=(
        Column("id", "uuid", nullable=False, filterable=True, sortable=True, unique=True),
        Column("number", "string", nullable=False, filterable=True, immutable=True),
        Column("applicant_id", "uuid", nullable=False, filterable=True, immutable=True),
        Column("status", "enum", nullable=False, filterable=True, sortable=True, aggregatable=True, immutable=True, choices=('draft', 'submitted', 'rejected', 'approved', 'withdrawn')),
        Column("kind", "enum", nullable=False, filterable=True, aggregatable=True, choices=('building', 'event', 'kiosk')),
        Column("subject", "text", nullable=False),
        Column("zones", "string[]", help='Zones of the city, one per line.'),
        Column("begins_on", "date", nullable=False, filterable=True, sortable=True, aggregatable=True),
        Column("ends_on", "date", nullable=False),
        Column("fee", "decimal", nullable=False, aggregatable=True),
        Column("version", "bigint", nullable=False),
        Column("created_at", "datetime", nullable=False, filterable=True, sortable=True, aggregatable=True),
        Column("updated_at", "datetime", nullable=False, filterable=True, sortable=True, aggregatable=True),
        Column("created_by", "text"),
    ),
    row=ApplicationRow,
    to_json=to_json,
    check=check,
    select=sql.SELECT.rstrip(),
    insert=sql.INSERT.rstrip(),
    insert_many=sql.INSERT_MANY.rstrip(),
    constraints={
        "applications_pkey": "id",
        "applications_tenant_key": "id",
        "applications_number_idx": "number",
        "applications_applicant_id_fkey": "applicant_id",
        "applications_status_idx": "status",
        "applications_status_check": "status",
        "applications_kind_idx": "kind",
        "applications_kind_check": "kind",
        "applications_subject_max_len": "subject",
        "applications_zones_check": "zones",
        "applications_zones_max_items": "zones",
        "applications_begins_on_idx": "begins_on",
        "applications_fee_min": "fee",
    },
    source="applications_tenant",
    timestamps=True,
    tenant_scoped=True,
    auditable=True,
    authored=True,
    versioned=True,
    searchable=True,
    title='{number}, {applicant.name}',
    relations=(
        Relation("applicant", "belongs_to", "applicants", "applicant_id"),
        Relation("appointments", "has_many", "appointments", "application_id"),
    ),
    permissions={
        "read": ('clerk', 'officer'),
        "create": ('clerk', 'officer'),
        "update": ('clerk', 'officer'),
        "delete": ('officer',),
        "audit": ('officer',),
        "approved_per_kind": ('officer',),
        "submit": ('clerk', 'officer'),
        "withdraw": ('clerk', 'officer'),
        "approve": ('officer',),
        "reject": ('officer',),
        "revoke": ('officer',),
    },
    reports={
        "per_month": DeclaredReport(('month(begins_on)', 'status'), ('count', 'sum(fee)'), chart='stacked'),
        "approved_per_kind": DeclaredReport(('kind',), ('count', 'avg(fee)'), {'status': 'approved'}, chart='bar'),
    },
    rules={
        "applications_number_begins_on_key": Rule(('number', 'begins_on'), message='This number is already used for this day.'),
        "applications_ends_on_begins_on_rule": Rule(('ends_on', 'begins_on'), message='A permit ends on its first day or later.', code='condition'),
    },
    transitions=(
        Transition("submit", "status", {'draft': 'submitted', 'rejected': 'submitted'}),
        Transition("withdraw", "status", {'draft': 'withdrawn', 'submitted': 'withdrawn'}),
        Transition("approve", "status", {'submitted': 'approved'}, not_by='created_by'),
        Transition("reject", "status", {'submitted': 'rejected'}, needs_reason=True),
        Transition("revoke", "status", {'approved': 'rejected'}, needs_reason=True),
    ),
)
