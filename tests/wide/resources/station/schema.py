from forge_min import schema

station = schema.define(
    "Station",
    schema.bigint("number", primary_key=True, min=1),
    schema.string("name", required=True, max_len=60, searchable=True, sortable=True),
    schema.belongs_to("Station", name="next", on_delete="set_null"),
    schema.belongs_to("Line", name="main_line", on_delete="restrict"),
    schema.many_to_many("Line"),
    schema.unique("main_line_id", "name", message="Two stations of a line have different names."),
    schema.index("main_line_id", "-number"),
    schema.index("number", where="number > 10 and main_line_id is not None"),
)
