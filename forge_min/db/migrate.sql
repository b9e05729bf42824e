-- The table of applied migrations; only the migration runner writes it.

-- name: create
create table public.forge_migration (
  source text not null,
  name text not null,
  checksum text not null,
  steps integer not null default 0,
  applied_at timestamptz,
  primary key (source, name)
)

-- name: exists
select to_regclass('public.forge_migration') is not null

-- name: applied
select source, name, checksum, steps, applied_at is not null
from public.forge_migration order by source, name

-- name: note
insert into public.forge_migration (source, name, checksum, steps, applied_at)
values (%s, %s, %s, %s, case when %s then now() end)
on conflict (source, name) do update
set checksum = excluded.checksum, steps = excluded.steps, applied_at = excluded.applied_at

-- name: forget
delete from public.forge_migration where source = %s and name = %s

-- name: limit
select set_config('lock_timeout', %s, false), set_config('statement_timeout', '0', false)

-- name: reset
-- Session settings of a file end with the file; times without a time zone are UTC.
reset all;
reset role;
set time zone 'UTC'
