"""The tables that the schemas ask for, as parts and as DDL. Pure: no database, no files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal

from ..errors import BuildError
from ..parse import TYPES, ColumnIR, RelationEdge, ResourceIR, constraint_name, join_edges
from .parts import Part, create, create_table, identifier, literal

# Of columns that no schema declares.
DEFAULTS = {"id": "forge_uuid7()", "created_at": "now()", "updated_at": "now()"}
SLUG = f"^{TYPES['slug']['written']}$"


def column_sql(column: ColumnIR) -> str:
    """The column's definition without name and constraints: `varchar(2) not null`.

    Raises BuildError F330 for a default that PostgreSQL cannot hold.
    """
    default = "" if column.declared else DEFAULTS.get(column.name, "")
    if column.default is not None:
        default = default_sql(column)
    words = f" default {default}" * bool(default) + " not null" * column.required
    return column_type(column) + words


def column_type(column: ColumnIR) -> str:
    """The PostgreSQL type."""
    about = TYPES[column.type]
    if "sized" in about and column.longest:
        return f"varchar({column.longest:d})"
    if column.precision:
        return "numeric({:d}, {:d})".format(*column.precision)
    return str(about["sql"])


def default_sql(field: ColumnIR) -> str:
    """The default as a literal, never as an expression: `default="now()"` is a text."""
    if isinstance(field.default, bool):
        return str(field.default).lower()
    if field.type in ("int", "bigint", "decimal"):
        return str(Decimal(str(field.default)))
    return literal(str(field.default))


def checks(field: ColumnIR) -> list[tuple[str, str]]:
    """The CHECKs of a field as (kind, condition), with a kind of `constraint_name`."""
    sized = "sized" in TYPES[field.type]
    rules = (
        ("check", "{} in ({})", ", ".join(map(literal, field.choices)) or None),
        ("check", "{} ~ {}", literal(SLUG) if field.type == "slug" else None),
        ("min", f"{{}} >= {{:{_number(field.min)}}}", field.min),
        ("max", f"{{}} <= {{:{_number(field.max)}}}", field.max),
        ("min_len", "char_length({}) >= {:d}", field.min_len),
        ("max_len", "char_length({}) <= {:d}", None if sized else field.longest),
    )
    name = identifier(field.column)
    return [(kind, rule.format(name, limit)) for kind, rule, limit in rules if limit is not None]


def _number(limit: int | Decimal | None) -> str:
    """The format of a number in SQL: never an exponent, and no text passes."""
    return "f" if isinstance(limit, Decimal) else "d"


# The tenant that asks; nobody's is null. (Unset it would raise; after a local set it is "".)
TENANT = "tenant_id = nullif(current_setting('forge.tenant_id', true), '')::uuid"
RLS = "row level security"
MOST_COLUMNS = 1600  # PostgreSQL manual, appendix K


def desired_sql(resources: Sequence[ResourceIR]) -> str:
    """The whole DDL: tables, foreign keys, indexes, policies, views. Needs forge's own migrations
    first.

    Raises BuildError F330 for what PostgreSQL cannot hold: a name of more than 63 bytes or that
    comes twice.
    """
    return parts_sql(desired_parts(resources))


def parts_sql(parts: Sequence[Part]) -> str:
    """The DDL that makes these parts. Foreign keys come last: they may go in circles."""
    tables = [create_table(part.table, parts) for part in parts if part.kind == "table"]
    keys = [part for part in parts if part.begins("foreign key")]
    others = [[p for p in parts if p.kind in k] for k in ("index", "security policy", "view")]
    blocks = ["\n".join(tables), *("".join(map(create, each)) for each in (keys, *others))]
    return "\n".join(block for block in blocks if block)


def desired_parts(resources: Sequence[ResourceIR]) -> list[Part]:
    """Every part, by table. Raises as desired_sql."""
    by_name = {resource.name: resource for resource in resources}
    tables = [_of_resource(resource, by_name) for resource in resources]
    tables += [_of_join(link) for link in join_edges(resources)]
    parts = [part for table in sorted(tables, key=lambda t: t.name) for part in table.parts]
    _check_names(parts)
    return parts


class _Table:
    """Collects the parts of one table. Of a tenant's, rules and indexes begin with the tenant."""

    def __init__(self, name: str, *, tenant: bool, soft_delete: bool = False) -> None:
        self.name = name
        self.tenant = tenant
        self.soft_delete = soft_delete
        self.parts = [Part("table", name, "")]

    def column(self, name: str, sql: str) -> None:
        self.parts.append(Part("column", self.name, name, sql=sql))

    def add(self, kind: str, column: str, suffix: str, sql: str) -> None:
        name = constraint_name(self.name, column, suffix)
        self.parts.append(Part(kind, self.name, name, sql=sql))

    def of_tenant(self, *columns: str) -> str:
        """These columns, after the tenant's where there is one: "(tenant_id, code)"."""
        return _listed("tenant_id", *columns) if self.tenant else _listed(*columns)

    def unique(self, column: str) -> None:
        """Deleted rows do not count, which a constraint cannot say."""
        sql = f"unique {self.of_tenant(column)}"
        if self.soft_delete:
            self.add("index", column, "key", f"{sql} where deleted_at is null")
        else:
            self.add("constraint", column, "key", sql)

    def foreign_key(self, column: str, target: ResourceIR, on_delete: str) -> None:
        """A check of a foreign key passes by the policies: so the tenant is part of the key."""
        tenant = ["tenant_id"] if self.tenant and target.tenant_scoped else []
        own, other = _listed(*tenant, column), _listed(*tenant, target.key.column)
        rule = on_delete.replace("_", " ")
        if tenant and on_delete == "set_null":
            rule += f" {_listed(column)}"
        sql = f"foreign key {own} references {identifier(target.table)} {other} on delete {rule}"
        self.add("constraint", column, "fkey", sql)

    def separate_tenants(self) -> None:
        """Not FORCEd: backfills of the owner would touch no row, without an error."""
        if self.tenant:
            self.parts.append(Part("security", self.name, RLS, sql=f"enable {RLS}"))
            self.add("policy", "", "tenant", f"using ({TENANT})")

    def view_of_tenant(self) -> None:
        """What a tenant's rows are read through. It is the owner's and no security barrier, so its
        condition is a plain one, beside which operators that are not leakproof may use an index.
        The check option: what is written through it stays the tenant's.
        """
        if self.tenant:
            names = [identifier(part.name) for part in self.parts if part.kind == "column"]
            rows = f"select {', '.join(names)}\n  from {identifier(self.name)}\n  where {TENANT}"
            self.add("view", "", "tenant", f"with (check_option = local) as\n  {rows}")


def _listed(*columns: str) -> str:
    return "(" + ", ".join(map(identifier, columns)) + ")"


def _of_resource(resource: ResourceIR, resources: Mapping[str, ResourceIR]) -> _Table:
    table = _Table(resource.table, tenant=resource.tenant_scoped, soft_delete=resource.soft_delete)
    _columns(table, resource)
    for field in resource.fields:
        for kind, condition in checks(field):
            table.add("constraint", field.column, kind, f"check ({condition})")
        if field.unique and not field.primary_key:
            table.unique(field.column)
    for relation in resource.relations:
        if relation.unique:
            table.unique(relation.column)
        table.foreign_key(relation.column, resources[relation.target], relation.on_delete)
    _indexes(table, resource)
    table.separate_tenants()
    table.view_of_tenant()
    return table


def _columns(table: _Table, resource: ResourceIR) -> None:
    """The columns and the key's constraint. Foreign keys within a tenant refer to the tenant and
    the key: where that is `id`, they need a constraint of their own.
    """
    key, *others = resource.columns
    table.column(key.column, column_sql(key))
    if table.tenant:
        table.column("tenant_id", "uuid not null")
    for column in others:
        table.column(column.column, column_sql(column))
    if resource.searchable:
        sql = f"tsvector generated always as ({_search(resource.searchable)}) stored"
        table.column("forge_search", sql)
    whole = table.of_tenant(key.column)
    table.add(
        "constraint", "", "pkey", f"primary key {whole if key.declared else _listed(key.column)}"
    )
    if table.tenant and not key.declared:
        table.add("constraint", "", "tenant_key", f"unique {whole}")


def _search(fields: Sequence[ColumnIR]) -> str:
    """The words of the fields; the first weighs most (PostgreSQL manual, section 12.3.1)."""
    return " || ".join(
        f"setweight(to_tsvector('simple', coalesce({identifier(f.column)}, '')), '{weight}')"
        for f, weight in zip(fields, "ABC" + "D" * len(fields))
    )


def _indexes(table: _Table, resource: ResourceIR) -> None:
    """A sortable column's index ends with the key, which is what a keyset page is ordered by. A
    unique relation of rows that are deleted softly needs one of its own: the partial one does not
    serve the foreign key.
    """
    for member in resource.non_key_members:
        column = member.column
        if member.target:
            if not member.unique or resource.soft_delete:
                table.add("index", column, "idx", table.of_tenant(column))
        elif (member.index or member.filterable or member.sortable) and not member.unique:
            end = (resource.key.column,) if member.sortable else ()
            table.add("index", column, "idx", table.of_tenant(column, *end))
    if resource.searchable:
        table.add("index", "", "search", "using gin (forge_search)")


def _of_join(link: RelationEdge) -> _Table:
    table = _Table(link.join, tenant=link.owner.tenant_scoped)
    if table.tenant:
        table.column("tenant_id", "uuid not null")
    for target, column in ((link.owner, link.column), (link.target, link.target_column)):
        table.column(column, f"{column_type(target.key)} not null")
        table.foreign_key(column, target, "cascade")
    names = table.of_tenant(link.column, link.target_column)
    table.add("constraint", "", "pkey", f"primary key {names}")
    table.add("index", link.target_column, "idx", table.of_tenant(link.target_column))
    table.separate_tenants()
    return table


def _check_names(parts: Sequence[Part]) -> None:
    """Tables, views, indexes and unique constraints share one space of names in a schema; a table
    has room for MOST_COLUMNS.
    """
    for table, count in Counter(part.table for part in parts if part.kind == "column").items():
        if count > MOST_COLUMNS:
            message = f"{table} would have {count} columns, and {MOST_COLUMNS} are the most"
            raise BuildError(message, code="F330", hint="move some into a resource of their own")
    seen: dict[tuple[str, ...], str] = {}
    for part in parts:
        shared = part.kind in ("table", "view", "index") or part.sql.startswith(("unique", "prim"))
        name = part.name or part.table
        key = (name,) if shared else (part.kind, part.table, name)
        place = f"{part.table} ({part.kind})"
        if key in seen:
            message = f"{seen[key]} and {place} would both need the name {name}"
            hint = "rename a field, or give a resource another plural"
            raise BuildError(message, code="F330", hint=hint)
        seen[key] = place
