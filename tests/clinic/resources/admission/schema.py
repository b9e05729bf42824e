from forge_min import schema

admission = schema.define(
    "Admission",
    schema.belongs_to("Patient", required=True),
    schema.belongs_to("Ward", required=True),
    schema.states(
        "status",
        initial="planned",
        transitions={
            "planned": {"admit": "admitted"},
            "admitted": {"discharge": "discharged"},
            "discharged": {"readmit": "admitted"},
        },
        roles={"discharge": ["doctor"], "readmit": ["doctor"]},
        reason=["discharge"],
        not_by={"readmit": ["create", "discharge"]},
        locked={"discharged": ["note", "ward_id"]},
    ),
    schema.date("due", filterable=True, sortable=True),
    schema.text("note", max_len=500),
    schema.timestamps(),
    schema.soft_delete(),
    schema.auditable(),
    schema.permission("read", ["nurse", "doctor"]),
    schema.permission("create", ["nurse"]),
    schema.permission("update", ["nurse"]),
    schema.permission("delete", ["nurse"]),
    schema.permission("restore", ["nurse"]),
    schema.permission("round", ["doctor"]),
    schema.permission("audit", ["nurse", "doctor"]),
    title="{patient.name}, {ward.name} ({patient.diagnosis})",
)
