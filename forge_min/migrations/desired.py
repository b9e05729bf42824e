"""The tables of the schemas, as objects and as DDL. Pure: no database, no files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from ..errors import BuildError
from ..parse import (
    TYPES,
    ColumnIR,
    RelationEdge,
    ResourceIR,
    check_names,
    condition_fields,
    constraint_name,
    join_edges,
)
from .conditions import condition_sql
from .objects import DbObject, Key, create, create_table, extensions, identifier, literal

# Defaults of implicit columns.
DEFAULTS = {"id": "forge_uuid7()", "created_at": "now()", "updated_at": "now()"}
# The CHECK of each rule, for a column and a limit.
RULES = {
    "min": "{} >= {}",
    "max": "{} <= {}",
    "min_len": "char_length({}) >= {}",
    "max_len": "char_length({}) <= {}",
    "max_items": "cardinality({}) <= {}",
}


def column_sql(column: ColumnIR) -> str:
    """Return the column's definition without name and constraints: `varchar(2) not null`."""
    default = ""
    if column.default is not None:
        default = default_sql(column)
    elif not column.declared:
        default = DEFAULTS.get(column.name, "")
    sql = column_type(column)
    if default:
        sql += f" default {default}"
    if column.required:
        sql += " not null"
    return sql


def column_type(column: ColumnIR) -> str:
    """Return the PostgreSQL type of a column."""
    about = TYPES[column.type]
    if "sized" in about and column.longest:
        return f"varchar({column.longest:d})"
    if column.precision:
        return "numeric({:d}, {:d})".format(*column.precision)
    return str(about["sql"])


def default_sql(field: ColumnIR) -> str:
    """Return the default as a literal, never as an expression: `default="now()"` is a text."""
    if isinstance(field.default, bool):
        return str(field.default).lower()
    if field.type in ("int", "bigint", "decimal", "float"):
        return str(Decimal(str(field.default)))
    return literal(str(field.default))


def checks(field: ColumnIR) -> list[tuple[str, str]]:
    """Return the CHECKs of a field as (kind, condition). kind: as of `constraint_name`."""
    name = identifier(field.column)
    conditions = []
    if field.choices:
        choices = ", ".join(map(literal, field.choices))
        allowed = f"<@ array[{choices}]" if field.is_array else f"in ({choices})"
        conditions.append(("check", f"{name} {allowed}"))
    if "check" in TYPES[field.type]:
        conditions.append(("check", TYPES[field.type]["check"].format(name)))
    for rule, limit in field.check_rules.items():
        if isinstance(limit, str):
            limit = literal(limit)
        conditions.append((rule, RULES[rule].format(name, limit)))
    return conditions


# The current tenant, null without one. (An unset setting would raise; after SET LOCAL it is "".)
TENANT = "tenant_id = nullif(current_setting('forge.tenant_id', true), '')::uuid"
RLS = "row level security"


def desired_sql(resources: Sequence[ResourceIR]) -> str:
    """Return the DDL of all resources: tables, foreign keys, indexes, policies, views.

    It needs the built-in migrations first.

    Raises BuildError F330 for a name of more than 63 bytes or a duplicate name.
    """
    return objects_sql(desired_objects(resources))


def objects_sql(objects: Sequence[DbObject]) -> str:
    """Return the DDL of these objects. Foreign keys come after tables: they may be cyclic."""
    tables = extensions(objects)
    keys = ""
    indexes = ""
    policies = ""
    views = ""
    for obj in objects:
        if obj.kind == "table":
            tables.append(create_table(obj.table, objects))
        elif obj.is_constraint("foreign key"):
            keys += create(obj)
        elif obj.kind == "index":
            indexes += create(obj)
        elif obj.kind in ("security", "policy"):
            policies += create(obj)
        elif obj.kind == "view":
            views += create(obj)
    blocks = ["\n".join(tables), keys, indexes, policies, views]
    return "\n".join(filter(None, blocks))


def desired_objects(resources: Sequence[ResourceIR]) -> list[DbObject]:
    """Return every object, by table. Raises as desired_sql."""
    by_name = {resource.name: resource for resource in resources}
    tables = [_of_resource(resource, by_name) for resource in resources]
    tables += map(_of_join, join_edges(resources))
    objects = []
    for table in sorted(tables, key=lambda table: table.name):
        objects += table.objects
    _check_names(objects)
    return objects


class _Table:
    """Collects a table's objects. Keys and indexes of a tenant's table start with tenant_id."""

    def __init__(self, name: str, *, tenant: bool, soft_delete: bool = False) -> None:
        self.name = name
        self.tenant = tenant
        self.soft_delete = soft_delete
        self.objects = [DbObject("table", name, "")]

    def column(self, name: str, sql: str) -> None:
        self.objects.append(DbObject("column", self.name, name, sql=sql))

    def add(self, kind: str, column: str, suffix: str, sql: str) -> None:
        name = constraint_name(self.name, column, suffix)
        self.objects.append(DbObject(kind, self.name, name, sql=sql))

    def of_tenant(self, *columns: str) -> str:
        """Return a column list, in a tenant's table with the tenant first: "(tenant_id, code)"."""
        if self.tenant:
            return _listed("tenant_id", *columns)
        return _listed(*columns)

    def unique(self, *columns: str) -> None:
        """Add uniqueness. Deleted rows do not count, which needs a partial index."""
        name = "_".join(columns)
        sql = f"unique {self.of_tenant(*columns)}"
        if self.soft_delete:
            self.add("index", name, "key", f"{sql} where deleted_at is null")
        else:
            self.add("constraint", name, "key", sql)

    def foreign_key(self, column: str, target: ResourceIR, on_delete: str) -> None:
        """Add a foreign key. Its check bypasses policies, so the tenant is part of the key."""
        key = _listed(column)
        target_key = _listed(target.key.column)
        rule = on_delete.replace("_", " ")
        if self.tenant and target.tenant_scoped:
            if on_delete == "set_null":
                rule += f" {key}"
            key = _listed("tenant_id", column)
            target_key = _listed("tenant_id", target.key.column)
        table = identifier(target.table)
        sql = f"foreign key {key} references {table} {target_key} on delete {rule}"
        self.add("constraint", column, "fkey", sql)

    def separate_tenants(self) -> None:
        """Add the policy. Not FORCEd: a backfill by the owner would silently change no row."""
        if self.tenant:
            self.objects.append(DbObject("security", self.name, RLS, sql=f"enable {RLS}"))
            self.add("policy", "", "tenant", f"using ({TENANT})")

    def view_of_tenant(self) -> None:
        """Add the view through which a tenant's rows are read and written.

        It belongs to the owner and is not a security barrier: operators that are not leakproof may
        use an index. Its check option keeps written rows in the tenant.
        """
        if self.tenant:
            names = [identifier(obj.name) for obj in self.objects if obj.kind == "column"]
            rows = f"select {', '.join(names)}\n  from {identifier(self.name)}\n  where {TENANT}"
            self.add("view", "", "tenant", f"with (check_option = local) as\n  {rows}")


def _listed(*columns: str) -> str:
    """Return a list of columns; "-" before a name: in descending order."""
    names = []
    for column in columns:
        name = identifier(column.removeprefix("-"))
        if column.startswith("-"):
            name += " desc"
        names.append(name)
    return f"({', '.join(names)})"


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
    columns = {column.column: column for column in resource.columns}
    for name, check in check_names(resource).items():
        condition = condition_sql(check.condition, columns)
        table.objects.append(DbObject("constraint", table.name, name, sql=f"check ({condition})"))
    for rule in resource.uniques:
        table.unique(*rule.fields)
    _indexes(table, resource)
    table.separate_tenants()
    table.view_of_tenant()
    return table


def _columns(table: _Table, resource: ResourceIR) -> None:
    """Add the columns and the primary key.

    Foreign keys within a tenant refer to (tenant, key); a key `id` needs an extra constraint.
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
    columns = table.of_tenant(key.column)
    if key.declared:
        table.add("constraint", "", "pkey", f"primary key {columns}")
        return
    table.add("constraint", "", "pkey", f"primary key {_listed(key.column)}")
    if table.tenant:
        table.add("constraint", "", "tenant_key", f"unique {columns}")


def _search(fields: Sequence[ColumnIR]) -> str:
    """Return the search vector; the first field weighs most (PostgreSQL manual, 12.3.1)."""
    vectors = []
    for field, weight in zip(fields, "ABC" + "D" * len(fields)):
        text = f"coalesce({identifier(field.column)}, '')"
        vectors.append(f"setweight(to_tsvector('simple', {text}), '{weight}')")
    return " || ".join(vectors)


def _indexes(table: _Table, resource: ResourceIR) -> None:
    """Add the indexes.

    A sortable column's index ends with the key, because keyset pages are ordered by both. A unique
    relation with soft deletion needs a second index: the partial one does not serve the foreign
    key. Deleted rows have an index, because they have a list of their own.
    """
    for member in resource.other_members:
        column = member.column
        if member.target:
            if not member.unique or resource.soft_delete:
                table.add("index", column, "idx", table.of_tenant(column))
        elif member.is_array and member.filterable:
            table.add("index", column, "idx", f"using gin ({identifier(column)})")
        elif (member.index or member.filterable or member.sortable) and not member.unique:
            columns = [column]
            if member.sortable:
                columns.append(resource.key.column)
            table.add("index", column, "idx", table.of_tenant(*columns))
    for field in resource.fields:
        if field.has_trigrams:
            column = identifier(field.column)
            table.add("index", field.column, "trgm", f"using gin ({column} gin_trgm_ops)")
    for index in resource.indexes:
        names = [field.removeprefix("-") for field in index.fields]
        sql = table.of_tenant(*index.fields)
        if index.where:
            names += ["where", *condition_fields(index.where)]
            # Without casts: the planner uses the index for queries with the same condition.
            sql += f" where {condition_sql(index.where, {})}"
        table.add("index", "_".join(names), "idx", sql)
    if resource.searchable:
        table.add("index", "", "search", "using gin (forge_search)")
    if resource.soft_delete:
        key = resource.key.column
        deleted = f"{table.of_tenant(key)} where deleted_at is not null"
        table.add("index", f"{key}_where_deleted_at", "idx", deleted)


def _of_join(edge: RelationEdge) -> _Table:
    table = _Table(edge.join, tenant=edge.owner.tenant_scoped)
    if table.tenant:
        table.column("tenant_id", "uuid not null")
    for target, column in ((edge.owner, edge.column), (edge.target, edge.target_column)):
        table.column(column, f"{column_type(target.key)} not null")
        table.foreign_key(column, target, "cascade")
    names = table.of_tenant(edge.column, edge.target_column)
    table.add("constraint", "", "pkey", f"primary key {names}")
    table.add("index", edge.target_column, "idx", table.of_tenant(edge.target_column))
    table.separate_tenants()
    return table


def _check_names(objects: Sequence[DbObject]) -> None:
    """Check that names are unique.

    Tables, views, indexes and unique constraints share one namespace.
    """
    seen: dict[Key, str] = {}
    for obj in objects:
        shared = obj.kind in ("table", "view", "index") or obj.sql.startswith(("unique", "prim"))
        name = obj.name or obj.table
        key = (obj.kind, obj.table, name)
        if shared:
            key = ("", "", name)
        owner = f"{obj.table} ({obj.kind})"
        if key in seen:
            message = f"{seen[key]} and {owner} would both have the name {name}"
            raise BuildError(message, code="F330", hint="rename a field, or set another plural")
        seen[key] = owner
