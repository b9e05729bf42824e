from forge_min import schema

officer = schema.define(
    "Officer",
    schema.string("name", required=True, max_len=80, personal=True, sortable=True),
    schema.string("room", required=True, max_len=10, filterable=True),
    schema.array("languages", of="enum", choices=["de", "en", "fr", "tr"], filterable=True),
    schema.has_many("Slot"),
    schema.tenant_scoped(),
    schema.permission("read", ["clerk", "officer"]),
    schema.permission("create", ["officer"]),
    schema.permission("update", ["officer"]),
    schema.permission("delete", ["officer"]),
)
