from forge_min import schema

product = schema.define(
    "Product",
    schema.string("name", required=True, min_len=1, max_len=100, sortable=True),
    schema.int("price", required=True, min=0, sortable=True),
    schema.enum(
        "status",
        ["active", "draft", "sold", "archived", "new"],
        required=True,
        filterable=True,
    ),
    schema.timestamps(),
    schema.with_hooks(schema.Hooks(after_create=[schema.JobRef(kind="Announce")])),
)
