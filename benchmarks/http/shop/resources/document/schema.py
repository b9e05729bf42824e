from forge_min import schema

# attacks.py lists documents by name, and requests pages of large ones.
document = schema.define(
    "Document",
    schema.string("name", max_len=100, sortable=True, filterable=True),
    schema.json("content"),
)
