-- Every statement of a generated migration. {name}, {table}, {old}, {new}: identifiers. {text}: the rest.

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

-- name: regular not null
-- PostgreSQL 18 names NOT NULL constraints: rename them as in a new table.
do $$
declare
  rule record;
begin
  if current_setting('server_version_num')::int < 180000 then
    return;
  end if;
  execute (
    select format('create temporary table %I (%s) on commit drop', '{raw}',
      string_agg(format('%I int not null', attname), ', ' order by attnum))
    from pg_attribute
    where attrelid = 'public.{name}'::regclass and attnum > 0 and not attisdropped
  );
  for rule in
    select now.conname as old, regular.conname as new
    from pg_constraint now
    join pg_attribute a on a.attrelid = now.conrelid and a.attnum = now.conkey[1]
    join pg_attribute b on b.attrelid = 'pg_temp.{name}'::regclass and b.attname = a.attname
    join pg_constraint regular on regular.conrelid = b.attrelid and regular.conkey[1] = b.attnum
    where now.conrelid = 'public.{name}'::regclass and now.contype = 'n' and regular.contype = 'n'
      and now.conname <> regular.conname
  loop
    execute format('alter table public.%I rename constraint %I to %I', '{raw}', rule.old, rule.new);
  end loop;
  drop table pg_temp.{name};
end
$$;
