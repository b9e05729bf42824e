from forge_min import schema

flight = schema.define(
    "Flight",
    schema.string("number", required=True, max_len=8, sortable=True, filterable=True),
    schema.belongs_to("Airport", name="origin", required=True),
    schema.belongs_to("Airport", name="destination", required=True),
    schema.enum(
        "status",
        ["scheduled", "boarding", "delayed", "departed", "cancelled"],
        required=True,
        default="scheduled",
        sortable=True,
        filterable=True,
    ),
    schema.string("gate", max_len=4, filterable=True),
    schema.datetime("departs_at", required=True, sortable=True, filterable=True),
    schema.datetime("arrives_at", required=True, sortable=True),
    schema.timestamps(),
    schema.auditable(),
    schema.permission("audit", ["anybody"]),  # the board has no sign-in
    schema.with_hooks(schema.Hooks(after_update=[schema.JobRef(kind="NotifyGate")])),
)
