from forge_min import schema

document = schema.define(
    "Document",
    schema.auditable(),
    schema.timestamps(),
    schema.uuid(
        "uuid", default="2f1f7c5e-0f3c-4b6e-9b53-0d1f6b1f6a10", filterable=True, index=True
    ),
    schema.string(
        "string",
        required=True,
        min_len=2,
        max_len=60,
        searchable=True,
        sortable=True,
        filterable=True,
        label="Title",
        placeholder="Of mice and men",
        help="What the document is called",
    ),
    schema.text("text", default="", max_len=100_000, searchable=True, pattern=r"[^<>]*"),
    schema.int("int", min=-10, max=2_000_000_000, default=1, sortable=True, filterable=True),
    schema.bigint("bigint", max=9_007_199_254_740_991, index=True, sortable=True, filterable=True),
    schema.decimal("decimal", precision=(9, 3), default="1.5", sortable=True, filterable=True),
    schema.bool("bool", required=True, default=True, sortable=True, filterable=True),
    schema.datetime("datetime", default="2026-01-31T12:00:00Z", sortable=True, filterable=True),
    schema.date("date", default="2026-01-31", sortable=True, filterable=True),
    schema.enum(
        "enum",
        ["draft", "it's out"],
        default="draft",
        searchable=True,
        sortable=True,
        filterable=True,
    ),
    schema.json("json", label="Anything", help="Any JSON value", placeholder="{}"),
    schema.slug("slug", unique=True, searchable=True, sortable=True, filterable=True),
    schema.email("email", searchable=True, sortable=True, filterable=True, immutable=True),
    schema.url("url", max_len=500, searchable=True, sortable=True, filterable=True),
    schema.uuid("secret", visible_to=["editor", "admin"], writable_by=["admin"], unique=True),
    schema.json("settings", required=True, visible_to=["admin"]),
    schema.permission("read", ["anybody"]),
    schema.permission("create", ["anybody"]),
    schema.permission("update", ["anybody"]),
    schema.permission("delete", ["admin"]),
    schema.with_hooks(
        schema.Hooks(after_create=[schema.JobRef("Notify"), schema.JobRef("Index", unique=True)])
    ),
)
