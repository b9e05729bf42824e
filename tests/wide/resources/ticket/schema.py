from forge_min import schema

ticket = schema.define(
    "Ticket",
    schema.tenant_scoped(),
    schema.auditable(),
    schema.uuid("code", primary_key=True),
    schema.string("seat", required=True, unique=True, max_len=4, sortable=True),
    schema.bigint("price", required=True, min=0, sortable=True, filterable=True),
    schema.states(
        "status",
        initial="open",
        transitions={"open": {"cancel": "cancelled"}, "cancelled": {"reopen": "open"}},
        not_by={"reopen": "created_by"},
    ),
    schema.has_many("Order"),
)
