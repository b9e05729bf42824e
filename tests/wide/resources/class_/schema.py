from forge_min import schema

class_ = schema.define(
    "Class",
    schema.string("code", primary_key=True, min_len=2, max_len=8, pattern=r"[A-Z][A-Z0-9]+"),
    schema.string("class", required=True, max_len=40, sortable=True, filterable=True, unique=True),
    schema.bool("def", required=True, default=False, filterable=True),
    schema.int("import", default=0, sortable=True, filterable=True),
    schema.string("self", max_len=10),
    schema.has_many("Order"),
    plural="classes",
)
