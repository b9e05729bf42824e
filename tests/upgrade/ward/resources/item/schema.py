from forge_min import schema

item = schema.define(
    "Item",
    schema.string("title", required=True, min_len=1, max_len=120, sortable=True, filterable=True),
    schema.bool("done", required=True, default=False, filterable=True),
    schema.timestamps(),
    schema.with_hooks(schema.Hooks(after_create=[schema.JobRef(kind="ItemCreated")])),
)
