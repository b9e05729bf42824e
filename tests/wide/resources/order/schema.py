from forge_min import schema

order = schema.define(
    "Order",
    schema.tenant_scoped(),
    schema.check("select is None or total >= select", message="A total is at least its select."),
    schema.soft_delete(),
    schema.auditable(),
    schema.version(),
    schema.timestamps(),
    schema.string(
        "number",
        required=True,
        unique=True,
        immutable=True,
        max_len=20,
        sortable=True,
        filterable=True,
    ),
    schema.string("reference", pattern=r"[A-Z]{2,3}-[0-9]{1,6}", max_len=10, filterable=True),
    schema.enum(
        "status",
        ["open", "paid", "sent"],
        required=True,
        default="open",
        sortable=True,
        filterable=True,
    ),
    schema.enum("kind", ["sale", "return"], required=True, filterable=True),
    schema.enum("lane", ["fast", "slow"], required=True, searchable=True),
    schema.decimal(
        "total", precision=(12, 2), required=True, min=0, sortable=True, filterable=True
    ),
    schema.decimal("margin", precision=(6, 3), visible_to=["manager"], writable_by=["manager"]),
    schema.string("from", max_len=40),
    schema.int("select", min=0, max=1000),
    schema.text("note", max_len=2000, searchable=True),
    schema.json("extra"),
    schema.date("due", sortable=True, filterable=True),
    schema.datetime("placed_at", immutable=True, sortable=True, filterable=True),
    schema.belongs_to("Account", required=True, on_delete="cascade"),
    schema.belongs_to("Class", name="class"),
    schema.belongs_to("Order", name="parent", on_delete="set_null"),
    schema.belongs_to("Ticket", on_delete="set_null", visible_to=["manager"]),
    schema.has_many("Order", name="children", via="parent"),
    schema.many_to_many("Tag", name="labels", table="order_labels"),
    schema.with_hooks(
        schema.Hooks(
            after_create=[
                schema.JobRef(kind="Notify"),
                schema.JobRef(kind="Bill", queue="mail", priority=1, max_attempts=3, delay=60),
            ],
            after_update=[
                schema.JobRef(kind="Notify"),
                schema.JobRef(kind="Reindex", priority=4, unique=True),
                schema.JobRef(kind="Notify", queue="mail"),
            ],
            after_delete=[schema.JobRef(kind="Notify")],
        )
    ),
)
