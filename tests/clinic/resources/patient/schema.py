from forge_min import schema

patient = schema.define(
    "Patient",
    schema.string("name", required=True, max_len=60, searchable=True, sortable=True),
    schema.date("born_on", filterable=True),
    schema.string("diagnosis", max_len=60, visible_to=["doctor"]),
    schema.has_many("Admission"),
    schema.permission("read", ["nurse", "doctor"]),
    schema.permission("create", ["nurse", "doctor"]),
    schema.permission("update", ["nurse", "doctor"]),
)
