from forge_min import schema

application = schema.define(
    "Application",
    schema.string("number", required=True, max_len=12, immutable=True, filterable=True),
    schema.belongs_to("Applicant", required=True, immutable=True),
    schema.states(
        "status",
        initial="draft",
        transitions={
            "draft": {"submit": "submitted", "withdraw": "withdrawn"},
            "submitted": {"approve": "approved", "reject": "rejected", "withdraw": "withdrawn"},
            "rejected": {"submit": "submitted"},
            "approved": {"revoke": "rejected"},
            "withdrawn": {},
        },
        roles={"approve": ["officer"], "reject": ["officer"], "revoke": ["officer"]},
        reason=["reject", "revoke"],
        not_by={"approve": "created_by"},
    ),
    schema.enum(
        "kind", ["building", "event", "kiosk"], required=True, filterable=True, aggregatable=True
    ),
    schema.text("subject", required=True, max_len=500, searchable=True),
    schema.array("zones", of="string", max_items=5, help="Zones of the city, one per line."),
    schema.date("begins_on", required=True, filterable=True, sortable=True, aggregatable=True),
    schema.date("ends_on", required=True),
    schema.decimal(
        "fee", precision=(9, 2), min=0, required=True, default="25.00", aggregatable=True
    ),
    schema.has_many("Appointment"),
    schema.unique("number", "begins_on", message="This number is already used for this day."),
    schema.check("ends_on >= begins_on", "A permit ends on its first day or later."),
    schema.index("status", "-begins_on"),
    schema.report(
        "per_month", ["month(begins_on)", "status"], ["count", "sum(fee)"], chart="stacked"
    ),
    schema.report("approved_per_kind", ["kind"], ["count", "avg(fee)"], {"status": "approved"}),
    schema.timestamps(),
    schema.tenant_scoped(),
    schema.auditable(),
    schema.version(),
    schema.permission("read", ["clerk", "officer"]),
    schema.permission("create", ["clerk", "officer"]),
    schema.permission("update", ["clerk", "officer"]),
    schema.permission("delete", ["officer"]),
    schema.permission("audit", ["officer"]),
    schema.permission("approved_per_kind", ["officer"]),
    title="{number}, {applicant.name}",
)
