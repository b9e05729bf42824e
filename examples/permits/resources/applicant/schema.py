from forge_min import schema

applicant = schema.define(
    "Applicant",
    schema.string("name", required=True, max_len=80, personal=True, searchable=True, sortable=True),
    schema.email("email", required=True, unique=True, personal=True),
    schema.date("born_on", max="today-18y", personal=True, help="Applicants are of age."),
    schema.has_many("Application"),
    schema.timestamps(),
    schema.tenant_scoped(),
    schema.permission("read", ["clerk", "officer"]),
    schema.permission("create", ["clerk"]),
    schema.permission("update", ["clerk"]),
    schema.permission("delete", ["officer"]),
)
