"""Lists of large tables for which doctor names an index."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from forge_min import db
from forge_min.actions.reader import ReadActions
from forge_min.actions.resource import Column, Resource
from forge_min.doctor import Finding
from forge_min.doctor.database import check_services
from forge_min.testing import TestDatabase

from bookshop import KEY, TENANT, VERSION, resource

from .conftest import MakeSite, loaded, of

pytestmark = pytest.mark.db
CASE = resource(
    "Case",
    KEY,
    Column("ward", "int", nullable=False, filterable=True),
    Column("weight", "int", nullable=False, filterable=True, sortable=True),
    Column("title", "string", nullable=False, sortable=True),
    VERSION,
)
# One tenant has four fifths of the rows; each of 600 wards has as many.
CASES = f"""
create table cases (id uuid primary key, tenant_id uuid not null, ward int not null,
  weight int not null, title text not null, version bigint not null default 1);
insert into cases select gen_random_uuid(), lpad((g % 5 / 4)::text, 32, '0')::uuid, g % 600,
  (random() * 100000)::int, 'case ' || g from generate_series(1, 120000) g;
create index on cases (tenant_id, ward);
create index on cases (tenant_id, weight, id);
create index on cases (tenant_id, id);
alter table cases enable row level security;
create policy cases_tenant on cases using (tenant_id = {TENANT});
create view cases_of_tenant as select * from cases where tenant_id = {TENANT};
vacuum analyze cases;
"""
BY_TITLE = 'schema.index("title", "id")'
BY_WARD = 'schema.index("ward", "weight", "id")'


@pytest.fixture
def owner(fresh_database: TestDatabase) -> Iterator[db.Connection]:
    with db.connect(fresh_database.owner_url) as conn:
        for statement in CASES.split(";\n"):
            if statement.strip():
                conn.execute(statement)
        conn.execute("grant select on cases_of_tenant, cases to public")
        yield conn


def findings(
    make_site: MakeSite, database: TestDatabase, case: Resource[Any] = CASE, **settings: str
) -> list[Finding]:
    def register(registry: Any, prefix: str) -> list[Any]:
        registry.add(type("CaseActions", (ReadActions,), {"resource": case}))
        return []

    site = make_site(database.app_url, settings or None, code=partial(loaded, register))
    return [one for one in check_services(site) if one.code == "D515"]


def test_costly_lists_of_a_large_table_are_named_with_their_index(
    owner: db.Connection,
    fresh_database: TestDatabase,
    make_site: MakeSite,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = {"database.migrate_url": fresh_database.owner_url}
    find = partial(findings, make_site, fresh_database, **settings)
    # The title has no index; a ward has few rows, which are sorted.
    finding = of(find(), "D515")
    assert (finding.state, finding.message) == ("warning", f"cases lacks {BY_TITLE}")
    owner.execute("create index on cases (tenant_id, title, id)")
    assert of(find(), "D515").message == "large tables checked: 1"
    # In a larger table they would be too many to sort.
    monkeypatch.setattr("forge_min.doctor.database.lists.MANY", 100)
    assert BY_WARD in of(find(), "D515").message
    owner.execute("create index on cases (tenant_id, ward, weight, id)")
    assert BY_WARD not in of(find(), "D515").message
    heading = Column("heading", "string", nullable=False, filterable=True)
    newer = resource("Case", KEY, heading, VERSION)
    assert of(find(newer), "D515").state == "skipped", "its migration is not applied yet"


def test_only_the_owner_plans_the_lists_of_a_tenant(
    owner: db.Connection, fresh_database: TestDatabase, make_site: MakeSite
) -> None:
    finding = of(findings(make_site, fresh_database), "D515")
    assert (finding.state, finding.message) == ("ok", "large tables checked: 0")
