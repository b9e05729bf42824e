"""A note. Pages, API, table, migration and live updates follow from this file."""

from forge_min import schema

note = schema.define(
    "Note",
    schema.string("title", required=True, min_len=1, max_len=120, searchable=True, sortable=True),
    schema.text("body"),
    schema.bool("done", required=True, default=False, filterable=True),
    schema.timestamps(),
)
