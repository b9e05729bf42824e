from forge_min import schema

profile = schema.define(
    "Profile",
    schema.tenant_scoped(),
    schema.version(),
    schema.belongs_to(
        "Account",
        required=True,
        immutable=True,
        on_delete="cascade",
        label="Account",
        help="Whose profile this is.",
        personal=True,
    ),
    schema.url("website", filterable=True),
    schema.text("bio", searchable=True, min_len=1, max_len=1000),
    schema.email("contact", visible_to=["manager"], writable_by=["manager", "owner"]),
    schema.belongs_to("Ticket", name="badge", unique=True, writable_by=["manager"]),
)
