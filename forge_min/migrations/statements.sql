-- Every statement of a generated migration. {name}, {table}, {old}, {new}: identifiers. {text}: the rest.

-- name: create extension
-- It stays when this migration is undone: other objects may use it.
create extension if not exists {name};

-- name: create column
alter table {table}
  add column {name} {text};

-- name: create constraint
alter table {table}
  add constraint {name} {text};

-- name: create index
create index {name} on {table} {text};

-- name: create unique index
create unique index {name} on {table} {text};

-- name: create security
alter table {table}
  {text};

-- name: create policy
create policy {name} on {table}
  {text};

-- name: create view
create view {name} {text};

-- name: create grant
grant {text} on {table} to {raw};

-- name: drop column
alter table {table}
  drop column {name};

-- name: drop constraint
alter table {table}
  drop constraint {name};

-- name: drop leftover constraint
-- It exists only if this migration was interrupted.
alter table {table}
  drop constraint if exists {name};

-- name: drop leftover index
-- It exists only if this migration was interrupted.
drop index if exists {name};

-- name: drop index
drop index {name};

-- name: drop security
alter table {table}
  disable {raw};

-- name: drop policy
drop policy {name} on {table};

-- name: drop view
drop view {name};

-- name: rename table
alter table {old} rename to {new};

-- name: rename column
alter table {table} rename column {old} to {new};

-- name: rename constraint
alter table {table} rename constraint {old} to {new};

-- name: rename index
alter index {old} rename to {new};

-- name: rename policy
alter policy {old} on {table} rename to {new};

-- name: rename view
alter view {old} rename to {new};

-- name: alter column
alter table {table}
  {text};

-- name: require column
alter table {table}
  alter column {name} set not null;

-- name: restore column
-- It is restored without values.
alter table {table}
  add column {name} {text};

-- name: restore required column
-- It is restored without values.
do $$ begin
  alter table {table} add column {name} {text};
  alter table {table} alter column {name} set not null;
exception when not_null_violation then
  raise warning 'rows of {table} have no {name}: it is restored without NOT NULL';
  alter table {table} add column {name} {text};
end $$;

-- name: validate constraint
-- If a row violates it, correct the row and run migrate up again.
alter table {table}
  validate constraint {name};

-- name: clear index
-- Left by an interrupted build.
drop index concurrently if exists {name};

-- name: build index
create index concurrently {name} on {table} {text};

-- name: build unique index
-- If two rows have the same values, correct them and run migrate up again.
create unique index concurrently {name} on {table} {text};

-- name: attach index
alter table {table}
  add constraint {name} unique using index {new};
