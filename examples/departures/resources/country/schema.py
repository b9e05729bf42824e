from forge_min import schema

country = schema.define(
    "Country",
    schema.string(
        "code", required=True, unique=True, min_len=2, max_len=2, sortable=True, filterable=True
    ),
    schema.string("name", required=True, max_len=80, sortable=True, filterable=True),
    schema.has_many("Airport"),
    schema.timestamps(),
    plural="countries",
)
