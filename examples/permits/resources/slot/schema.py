from forge_min import schema

slot = schema.define(
    "Slot",
    schema.belongs_to("Officer", required=True, immutable=True),
    schema.date("day", required=True, sortable=True, filterable=True),
    schema.time("begins_at", required=True, min="07:00:00", max="19:00:00"),
    schema.duration("length", required=True, min="PT10M", max="PT4H"),
    schema.int("places", required=True, default=1, min=1, max=20),
    schema.has_many("Appointment"),
    schema.unique("officer_id", "day", "begins_at", message="The officer has this slot already."),
    schema.tenant_scoped(),
    schema.permission("read", ["clerk", "officer"]),
    schema.permission("create", ["officer"]),
    schema.permission("update", ["officer"]),
    schema.permission("delete", ["officer"]),
    title="{officer.name}, {day} {begins_at}",
)
