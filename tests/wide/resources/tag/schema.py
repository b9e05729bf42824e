from forge_min import schema

tag = schema.define(
    "Tag",
    schema.tenant_scoped(),
    schema.string("name", required=True, unique=True, max_len=30, sortable=True, filterable=True),
    schema.many_to_many("Order", table="order_labels"),
)
