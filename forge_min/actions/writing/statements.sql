The statements of a write. $names are filled by statement.py: names and fragments of our own, never a value.

Aliases begin with forge_, which no column does: a whole-row reference to `t` would otherwise mean a column of
that name. `row` is what was written; forge_before and forge_names are what it was and which columns differ.

-- name: create
with row as (
$insert
)$also
select $answer from row

-- The rows as they were, locked; what is given; the row as it is, where anything differs. $again: rows of a join
-- table changed under us while we waited for the lock, so this statement's view of them is old.
-- name: change
with forge_prior as (
select $prior from $table forge_t where $found for update of forge_t
), forge_given as (
select $given
), row as (
update $table forge_t set $sets
from forge_prior, forge_given
where forge_t.$key = forge_prior.$key$tenant_t and ($differs)$unless
returning forge_t.*, to_jsonb(forge_prior) as forge_before,
  $changed as forge_names
)$also
select true, false, null::text[], $written from row
union all
select false, $again, $frozen, $unwritten from $sources
where not exists (select 1 from row)

-- The version is of the statement's snapshot.
-- name: delete
with row as (
delete from $table forge_t where $found$unless
returning forge_t.*, to_jsonb(forge_t) as forge_before$arrays
)$also
select exists (select 1 from row), (select forge_t."version" from $table forge_t where $found)

-- Rows are locked and inserted in the order of the key, so that two of these do not deadlock. The count reads
-- all of forge_prior before the first row is written. A row that somebody inserted since our snapshot is no
-- part of forge_prior, so it is left alone, and reported as missed.
-- name: upsert
with forge_given as (
select * from unnest($arrays) with ordinality forge_g ($names, forge_n)
), forge_prior as (
select $columns from $table forge_t where $found order by forge_t.$on for update of forge_t
), row as (
insert into $table as forge_t ($names$tenant_name)
select $names$tenant_value from forge_given
where (select count(*) from forge_prior) >= 0 order by $on
on conflict ($target)$live do update set $sets
where ($differs)$unless and exists (select 1 from forge_prior where forge_prior.$on = forge_t.$on)
returning forge_t.*
), forge_made as (
select row.* from row where not exists (select 1 from forge_prior where forge_prior.$on = row.$on)
), forge_changed as (
select row.*, to_jsonb(forge_prior) as forge_before, $changed as forge_names
from row join forge_prior on forge_prior.$on = row.$on
)$also
select case
  when row.$on is not null and forge_prior.$on is null then 'created'
  when row.$on is not null then 'updated'
  when forge_prior.$on is null then 'missed'
  when $deleted then 'deleted'
  when $locked then 'immutable'
  else 'unchanged' end, case when $deleted then array[$on_name] else $frozen end
from forge_given
left join forge_prior on forge_prior.$on = forge_given.$on
left join row on row.$on = forge_given.$on
order by forge_given.forge_n

-- Rows of a join table that come with new rows: two arrays, the owner's key and the target's of each pair.
-- name: link
forge_link_$n as (
select forge_owner, array_agg(forge_id order by forge_id) as $field
from unnest(%(forge_owners_$n)s::$key_type[], %(forge_ids_$n)s::$type[]) forge_u (forge_owner, forge_id)
group by forge_owner
), forge_join_$n as (
insert into $join ($column, $target_column$tenant_name)
select row.$key, unnest(forge_link_$n.$field)$tenant_value
from row join forge_link_$n on forge_link_$n.forge_owner = row.$key
)

-- The set of targets of a row that is there becomes the given one.
-- name: relink
forge_gone_$n as (
delete from $join forge_x using row, forge_given
where forge_x.$column = row.$key$tenant_x and forge_x.$target_column <> all(forge_given.$field)
), forge_join_$n as (
insert into $join ($column, $target_column$tenant_name)
select row.$key, forge_x$tenant_value
from row, forge_prior, forge_given, unnest(forge_given.$field) forge_x
where forge_x <> all(forge_prior.$field)
on conflict do nothing
)

-- The targets of a row in a join table, in order.
-- name: targets
array(select forge_x.$target_column::$type from $join forge_x where forge_x.$column = forge_t.$key$tenant_x
  order by 1) as $field

-- forge_b and forge_a: the row before and after as JSON, {} where there is none.
-- name: audit
insert into forge_audit (tenant_id, topic, resource_id, operation, version, actor, request_id, changes)
select $tenant::uuid, %(forge_topic)s::text, $source.$key::text, '$operation', $source."version",
  %(forge_actor)s::text, %(forge_request)s::text, (
    select coalesce(jsonb_object_agg(
      forge_k, jsonb_build_array(forge_s.forge_b -> forge_k, forge_s.forge_a -> forge_k)), '{}')
    from jsonb_object_keys(forge_s.forge_b || forge_s.forge_a) forge_k
    where coalesce(forge_s.forge_b -> forge_k, 'null') <> coalesce(forge_s.forge_a -> forge_k, 'null'))
from $source$others, lateral (select $before as forge_b, $after as forge_a) forge_s
