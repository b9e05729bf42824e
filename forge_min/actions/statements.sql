The statements of a write. $names are filled by statement.py: names and fragments of our own, never a value.

Aliases begin with forge_, which no table and no column does: a whole-row reference to `t` would otherwise mean a
column of that name. forge_row is what was written; forge_before and forge_names are what it was and which columns
differ. Locks leave the key alone (no key), so that nobody who refers to the row has to wait.

-- name: create
with forge_row as (
$insert
)$also
select $answer from forge_row

-- The row as it was, locked; what is given; the row as it is, where anything differs. The first column of a row that was written is
-- null. $again: rows of a join
-- table changed under us while we waited for the lock, so this statement's view of them is old.
-- name: change
with forge_prior as (
select $prior from $table forge_t where $found for no key update of forge_t
), forge_given as (
select $given
), forge_row as (
$write forge_prior, forge_given
where forge_t.$key = forge_prior.$key$tenant_t and ($differs)
  and (%(forge_version)s::bigint is null or forge_prior."version" = %(forge_version)s::bigint)
  and not ($again) and not ($locked)
returning forge_t.*, $before as forge_before, $changed as forge_names
)$also
select null, false, '{}'::text[], $written from forge_row
union all
select $again, coalesce(forge_prior."version" <> %(forge_version)s::bigint, false), $frozen, $unwritten
from forge_prior, forge_given
where not exists (select 1 from forge_row)

-- The row's version in the statement's snapshot, which is what it reads join tables by. It differs from the
-- version of the locked row when that changed meanwhile.
-- name: again
forge_prior."version" <> (select forge_s."version" from $table forge_s where $found)

-- Rows are locked and inserted in the order of the key, so that two of these rarely deadlock (one that sends its
-- missed rows again may, and is tried again as a whole). The count reads
-- all of forge_prior before the first row is written. A row that somebody inserted since our snapshot is no
-- part of forge_prior, so it is left alone, and reported as missed.
-- name: upsert
with forge_given as (
select * from unnest($arrays) with ordinality forge_g ($names, forge_n)
), forge_prior as (
select $columns from $table forge_t where $found order by forge_t.$on for no key update of forge_t
), forge_row as (
insert into $table as forge_t ($names$tenant_name)
select $names$tenant_value from forge_given
where (select count(*) from forge_prior) >= 0 order by $on
on conflict ($target)$live do update set $sets
where ($differs) and not ($locked) and not ($deleted)
  and exists (select 1 from forge_prior where forge_prior.$on = forge_t.$on)
returning forge_t.*
), forge_made as (
select forge_row.* from forge_row
where not exists (select 1 from forge_prior where forge_prior.$on = forge_row.$on)
), forge_changed as (
select forge_row.*, $before as forge_before, $changed as forge_names
from forge_row join forge_prior on forge_prior.$on = forge_row.$on
)$also
select case
  when forge_row.$on is not null and forge_prior.$on is null then 'created'
  when forge_row.$on is not null then 'updated'
  when forge_prior.$on is null then 'missed'
  when $was_deleted then 'deleted'
  when $was_locked then 'immutable'
  else 'unchanged' end, case when $was_deleted then array[$on_name] else $frozen end
from forge_given
left join forge_prior on forge_prior.$on = forge_given.$on
left join forge_row on forge_row.$on = forge_given.$on
order by forge_given.forge_n

-- Rows of a join table that come with new rows: two arrays, the owner's key and the target's of each pair.
-- name: link
forge_link_$n as (
select forge_owner, array_agg(forge_id order by forge_id) as $field
from unnest(%(forge_owners_$n)s::$key_type[], %(forge_ids_$n)s::$type[]) forge_u (forge_owner, forge_id)
group by forge_owner
), forge_join_$n as (
insert into $join ($column, $target_column$tenant_name)
select forge_row.$key, unnest(forge_link_$n.$field)$tenant_value
from forge_row join forge_link_$n on forge_link_$n.forge_owner = forge_row.$key
)

-- The set of targets of a row that is there becomes the given one.
-- name: relink
forge_gone_$n as (
delete from $join forge_x using forge_row, forge_given
where forge_x.$column = forge_row.$key$tenant_x and forge_x.$target_column <> all(forge_given.$field)
), forge_join_$n as (
insert into $join ($column, $target_column$tenant_name)
select forge_row.$key, forge_x$tenant_value
from forge_row, forge_prior, forge_given, unnest(forge_given.$field) forge_x
where forge_x <> all(forge_prior.$field)
on conflict do nothing
)

-- The targets of a row in a join table, in order.
-- name: targets
array(select forge_x.$target_column::$type from $join forge_x where forge_x.$column = forge_t.$key$tenant_x
  order by 1) as $field

-- The same of those that are given.
-- name: given
array(select distinct forge_x from unnest(%($name)s::$type[]) forge_x order by 1) as $field

-- The targets that are there, with the difference between those that were seen and those that are given.
-- name: merged
array(select forge_x from unnest((select forge_prior.$field from forge_prior)) forge_x
  where forge_x <> all(%(forge_seen_$name)s::$type[]) or forge_x = any(%($name)s::$type[])
  union select forge_x from unnest(%($name)s::$type[]) forge_x
  where forge_x <> all(%(forge_seen_$name)s::$type[]) order by 1) as $field

-- PERF: the text of each field that differs: to compare two rows as JSON took four times as long, and an
-- aggregate over their fields twice (benchmarks/writes.py).
-- name: audit
forge_audit_$operation as (
insert into forge_audit (tenant_id, topic, resource_id, operation, version, actor, request_id, changes)
select $tenant::uuid, $topic, $source.$key::text, '$operation', $source."version",
  %(forge_actor)s::text, %(forge_request)s::text, ('{' || $fields || '}')::jsonb
from $source$others
)
