from forge_min import schema

ward = schema.define(
    "Ward",
    schema.string("name", required=True, max_len=60),
    schema.int("beds", required=True, default=10),
    schema.has_many("Admission"),
    schema.permission("read", ["doctor", "nurse"]),
    schema.permission("create", ["doctor"]),
)
