from forge_min import schema

line = schema.define(
    "Line",
    schema.slug("slug", primary_key=True, max_len=20),
    schema.int("year", required=True, min=1830, max=2100),
    schema.has_many("Station", name="main_stations", via="main_line"),
    schema.many_to_many("Station", name="stops", table="stations_lines"),
)
