from forge_min import schema

thing = schema.define(
    "Thingxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    schema.tenant_scoped(),
    schema.soft_delete(),
    schema.timestamps(),
    schema.int(
        "field_zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz",
        min=1,
        max=9,
        unique=True,
        sortable=True,
        filterable=True,
    ),
    schema.text(
        "words_zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz",
        min_len=1,
        max_len=99,
        searchable=True,
    ),
    schema.enum(
        "which_zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz",
        ["a", "b"],
        required=True,
        default="a",
        filterable=True,
    ),
    schema.belongs_to(
        "Thingxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        name="relation_rrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrr",
        unique=True,
        on_delete="set_null",
    ),
    plural="things_yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy",
)
