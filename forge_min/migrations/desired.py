"""The tables that the schemas ask for, as DDL. Pure: no database, no files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import BuildError
from ..parse.ir import FieldIR, RelationIR, ResourceIR
from ..parse.names import constraint_name
from .columns import checks, column_sql
from .names import SYSTEM_COLUMNS, identifier


@dataclass(frozen=True, slots=True)
class Part:
    """A named piece of a table. column: the one it belongs to. sql: as in CREATE TABLE, or a whole
    CREATE INDEX.
    """

    name: str
    column: str
    sql: str


@dataclass(frozen=True, slots=True)
class Table:
    """One table: columns and constraints in order; foreign keys are added when all tables are
    there, so that they may point in circles.
    """

    name: str
    columns: tuple[Part, ...]
    constraints: tuple[Part, ...]
    foreign_keys: tuple[Part, ...]
    indexes: tuple[Part, ...]

    @property
    def create(self) -> str:
        """The CREATE TABLE statement."""
        lines = [part.sql for part in self.columns]
        lines += [f"constraint {identifier(part.name)} {part.sql}" for part in self.constraints]
        return f"create table {identifier(self.name)} (\n  " + ",\n  ".join(lines) + "\n);\n"

    def alter(self, change: str) -> str:
        """An ALTER TABLE statement."""
        return f"alter table {identifier(self.name)}\n  {change};\n"

    def add(self, part: Part) -> str:
        """The statement that adds a constraint or foreign key to the table."""
        return self.alter(f"add constraint {identifier(part.name)} {part.sql}")


def desired_sql(resources: Sequence[ResourceIR]) -> str:
    """The whole DDL: tables, then foreign keys, then indexes. Needs forge's own migrations first.

    Raises BuildError F330 for what PostgreSQL cannot hold: a name of more than 63 bytes or that
    comes twice, a default of the wrong type.
    """
    return tables_sql(desired_tables(resources))


def tables_sql(tables: Sequence[Table]) -> str:
    """The DDL that makes these tables."""
    creates = [table.create for table in tables]
    keys = [table.add(part) for table in tables for part in table.foreign_keys]
    indexes = [part.sql for table in tables for part in table.indexes]
    blocks = ["\n".join(creates), "".join(keys), "".join(indexes)]
    return "\n".join(block for block in blocks if block)


def desired_tables(resources: Sequence[ResourceIR]) -> list[Table]:
    """The tables by name. Raises as desired_sql."""
    targets = {resource.name: resource.table for resource in resources}
    tables = [_table(resource, targets) for resource in sorted(resources, key=lambda r: r.table)]
    _check_names(tables)
    return tables


def _table(resource: ResourceIR, targets: dict[str, str]) -> Table:
    table = resource.table
    return Table(
        name=table,
        columns=(
            Part("id", "id", "id uuid default forge_uuid7() not null"),
            *(Part(m.column, m.column, column_sql(m)) for m in resource.members),
            Part("version", "version", "version bigint default 1 not null"),
            *(Part(n, n, f"{n} timestamptz default now() not null") for n in _stamps(resource)),
        ),
        constraints=(
            Part(constraint_name(table, "", "pkey"), "id", "primary key (id)"),
            *(part for field in resource.fields for part in _constraints(table, field)),
        ),
        foreign_keys=tuple(_foreign_key(resource, r, targets) for r in resource.relations),
        indexes=tuple(_index(table, member) for member in resource.members if _wants_index(member)),
    )


def _stamps(resource: ResourceIR) -> tuple[str, ...]:
    return ("created_at", "updated_at") if resource.timestamps else ()


def _constraints(table: str, field: FieldIR) -> list[Part]:
    found = [
        Part(name, field.column, f"check ({condition})") for name, condition in checks(table, field)
    ]
    if field.unique:
        name = constraint_name(table, field.column, "key")
        found.append(Part(name, field.column, f"unique ({identifier(field.column)})"))
    return found


def _foreign_key(resource: ResourceIR, relation: RelationIR, targets: dict[str, str]) -> Part:
    if relation.target not in targets:
        raise BuildError(
            f"{relation.span.file}:{relation.span.line}: there is no resource {relation.target}",
            code="F330",
        )
    name = constraint_name(resource.table, relation.column, "fkey")
    return Part(
        name,
        relation.column,
        f"foreign key ({identifier(relation.column)})"
        f" references {identifier(targets[relation.target])} (id)"
        f" on delete {relation.on_delete.replace('_', ' ')}",
    )


def _wants_index(member: FieldIR | RelationIR) -> bool:
    if isinstance(member, RelationIR):
        return True
    return (member.index or member.filterable or member.sortable) and not member.unique


def _index(table: str, member: FieldIR | RelationIR) -> Part:
    """A sortable column's index ends with id, which is what a keyset page is ordered by."""
    name = constraint_name(table, member.column, "idx")
    sortable = isinstance(member, FieldIR) and member.sortable
    columns = identifier(member.column) + (", id" if sortable else "")
    sql = f"create index {identifier(name)} on {identifier(table)} ({columns});\n"
    return Part(name, member.column, sql)


def _check_names(tables: Sequence[Table]) -> None:
    """Tables, indexes and unique constraints share one space of names in a schema."""
    seen: dict[str, str] = {}
    for table in tables:
        names = [(table.name, "the table itself")]
        names += [(p.name, p.column) for p in table.indexes]
        names += [(p.name, p.column) for p in table.constraints if not p.sql.startswith("check")]
        for name, what in names:
            place = f"{table.name} ({what})"
            if name in seen:
                raise BuildError(
                    f"{seen[name]} and {place} would both need the name {name}",
                    code="F330",
                    hint="rename a field, or give a resource another plural",
                )
            seen[name] = place
        for part in table.columns:
            if part.column in SYSTEM_COLUMNS:
                raise BuildError(
                    f"{table.name}.{part.column}: every table has such a column already",
                    code="F330",
                    hint="give the field another name",
                )
