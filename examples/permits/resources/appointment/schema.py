from forge_min import schema

appointment = schema.define(
    "Appointment",
    schema.belongs_to("Slot", required=True),
    schema.belongs_to("Application", required=True, on_delete="cascade"),
    schema.string("note", max_len=200),
    schema.unique("slot_id", "application_id", message="This application has this slot already."),
    schema.timestamps(),
    schema.tenant_scoped(),
    schema.permission("read", ["clerk", "officer"]),
    schema.permission("create", ["clerk", "officer"]),
    schema.permission("update", ["clerk", "officer"]),
    schema.permission("delete", ["clerk", "officer"]),
)
