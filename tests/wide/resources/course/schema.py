from forge_min import schema

course = schema.define(
    "Course",
    schema.tenant_scoped(),
    schema.auditable(),
    schema.with_hooks(schema.Hooks(after_update=[schema.JobRef("Notify")])),
    schema.array("tags", of="string", required=True, max_items=5, filterable=True),
    schema.time("time", required=True, sortable=True, filterable=True, aggregatable=True),
    schema.time("opens_at", min="06:00:00", max="22:30:00", default="08:30:00"),
    schema.duration("length", default="PT36H", sortable=True, filterable=True, aggregatable=True),
    schema.duration("pause", required=True, default="PT30M", min="PT5M", max="P2W"),
    schema.float("float", required=True, sortable=True, filterable=True, aggregatable=True),
    schema.float("weight", min=-0.5, max=1e300, default=0.1),
    schema.array("rooms", of="int", filterable=True, label="Rooms"),
    schema.array("days", of="enum", choices=["mon", "it's", "sun"], filterable=True),
    schema.date("starts_on", min="1900-01-01", max="today+2y", sortable=True, filterable=True),
    schema.datetime("enrolled_at", min="2000-01-01T00:00:00+01:00", max="now+2h"),
    schema.decimal("price", precision=(40, 2), aggregatable=True),
    schema.report(
        "lengths",
        ["length", "time"],
        ["sum(float)", "avg(float)", "avg(price)", "max(length)", "min(time)", "count"],
        filters={"tags[contains]": "a", "float[gt]": 0.5},
    ),
    schema.check("pause < length or weight != 1.25", "Too heavy for a pause of this length."),
    schema.check("tags is not None or float > 0.5", "Without tags it must be large."),
)
