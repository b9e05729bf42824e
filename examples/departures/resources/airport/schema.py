from forge_min import schema

airport = schema.define(
    "Airport",
    schema.string("icao", required=True, unique=True, max_len=4, sortable=True, filterable=True),
    schema.string("iata", unique=True, min_len=3, max_len=3, sortable=True, filterable=True),
    schema.string(
        "name", required=True, max_len=100, sortable=True, filterable=True, searchable=True
    ),
    schema.string("city", max_len=60, sortable=True, filterable=True, searchable=True),
    schema.belongs_to("Country", required=True),
    schema.decimal("latitude", required=True, precision=(9, 6), min=-90, max=90),
    schema.decimal("longitude", required=True, precision=(9, 6), min=-180, max=180),
    schema.int("elevation", help="feet above the sea"),
    schema.string("time_zone", max_len=40),
    schema.belongs_to("Airport", name="nearest", on_delete="set_null"),
    schema.decimal("nearest_km", precision=(8, 3), min=0),
    schema.has_many("Flight", name="departures", via="origin"),
    schema.has_many("Flight", name="arrivals", via="destination"),
    schema.timestamps(),
    schema.with_hooks(
        schema.Hooks(after_create=[schema.JobRef(kind="FindNearest", queue="nearest")])
    ),
)
