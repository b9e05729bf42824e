The statements of a write. $names are filled in by statement.py: names and fragments of our own, never a value.

Aliases begin with forge_, with which no table or column begins: a whole-row reference to `t` could otherwise mean a
column of that name. forge_row is the written row; forge_before and forge_names are its state before and the columns
that differ. Locks leave out the key (no key), so that inserts of rows that refer to the row do not wait.

-- A change of one row is change_prior, change_given, change_row and the effects; its result is change_result.

-- The locked row before the change.
-- name: change_prior
forge_prior as (
select $columns from $table forge_t where $where for $lock of forge_t
)

-- The new values.
-- name: change_given
forge_given as (
select $given
)

-- The row after the change, if anything differs. $again: rows of a join table changed while the statement waited for
-- the lock, so its snapshot of them is old.
-- name: change_row
forge_row as (
$write forge_prior, forge_given
where forge_t.$key = forge_prior.$key$tenant_t and ($differs)
  and (%(forge_version)s::bigint is null or forge_prior."version" = %(forge_version)s::bigint)
  and not ($again) and cardinality($frozen) = 0
returning forge_t.*, $before as forge_before, $changed as forge_names
)

-- The first column is null if the row was written.
-- name: change_result
select null, false, '{}'::text[], $written from $source
union all
select $again, coalesce(forge_prior."version" <> %(forge_version)s::bigint, false), $frozen, $unwritten
from forge_prior, forge_given
where not exists (select 1 from forge_row)

-- Whether the version of the row differs between the statement's snapshot, from which join tables are read, and the
-- locked row: it does if another transaction changed the row in between.
-- name: again
forge_prior."version" <> (select forge_s."version" from $table forge_s where $where)

-- An upsert of many rows is upsert_given, upsert_prior, upsert_row, upsert_new, upsert_changed and the effects of the
-- last two; its result is upsert_result.

-- The new values of each row, numbered.
-- name: upsert_given
forge_given as (
select $given, forge_n from unnest($arrays) with ordinality forge_g ($names, forge_n)
)

-- The existing rows before the change. Rows are locked and inserted in the order of the key, which makes deadlocks rare
-- (a statement that sends its missed rows again may cause one, and is then repeated as a whole).
-- name: upsert_prior
forge_prior as (
select $columns from $table forge_t where $where order by forge_t.$on for no key update of forge_t
)

-- The written rows. The count reads all of forge_prior before the first row is written. A row that was inserted after
-- the snapshot is not in forge_prior, so it is not changed, but reported as missed.
-- name: upsert_row
forge_row as (
insert into $table as forge_t ($columns$tenant_name$author_name)
select $columns$tenant_value$author_value from forge_given
where (select count(*) from forge_prior) >= 0 order by $on
on conflict ($target)$live do update set $sets
where ($differs) and cardinality($locked) = 0 and not ($deleted)
  and exists (select 1 from forge_prior where forge_prior.$on = forge_t.$on)
returning forge_t.*
)

-- name: upsert_new
forge_new as (
select forge_row.* from forge_row
where not exists (select 1 from forge_prior where forge_prior.$on = forge_row.$on)
)

-- name: upsert_changed
forge_changed as (
select forge_row.*, $before as forge_before, $changed as forge_names
from forge_row join forge_prior on forge_prior.$on = forge_row.$on
)

-- name: upsert_result
select case
  when forge_row.$on is not null and forge_prior.$on is null then 'created'
  when forge_row.$on is not null then 'updated'
  when forge_prior.$on is null then 'missed'
  when $was_deleted then 'deleted'
  when cardinality($frozen) > 0 then 'immutable'
  else 'unchanged' end, case
  when forge_row.$on is not null or forge_prior.$on is null then '{}'
  when $was_deleted then array['$on_name']
  else $frozen end$rows
from forge_given
left join forge_prior on forge_prior.$on = forge_given.$on
left join forge_row on forge_row.$on = forge_given.$on
order by forge_given.forge_n

-- The columns that differ and that the state of the row locks. $states: column with states → state → columns.
-- name: locked
array(select forge_name from jsonb_each($states::jsonb) forge_c (forge_column, forge_by_state),
    jsonb_array_elements_text(coalesce(forge_by_state -> (to_jsonb($source) ->> forge_column), '[]')) forge_n (forge_name)
  where forge_name = any($differing))

-- The transitions of the row from which the user is excluded: not_by names a column with the user, or an operation that
-- the user has performed on the row, as the history shows. There, an update of a column with states is a transition.
-- name: excluded
select forge_m ->> 'name'
from forge_prior, jsonb_array_elements($transitions::jsonb) forge_m,
  unnest(string_to_array(forge_m ->> 'not_by', ', ')) forge_by
where to_jsonb(forge_prior) ->> forge_by = %(forge_actor)s::text or not to_jsonb(forge_prior) ? forge_by and exists (
  select from forge_audit forge_a
  where forge_a.topic = $topic and forge_a.resource_id = forge_prior.$key::text
    and forge_a.tenant_id is not distinct from $tenant::uuid and forge_a.actor = nullif(%(forge_actor)s::text, '')
    and case when forge_a.operation = 'update' and exists (
      select from jsonb_array_elements($transitions::jsonb) forge_o where forge_a.changes ? (forge_o ->> 'column'))
    then exists (
      select from jsonb_array_elements($transitions::jsonb) forge_o
      where forge_o ->> 'name' = forge_by and forge_o -> 'steps' ->> (forge_a.changes -> (forge_o ->> 'column') ->> 0)
        = forge_a.changes -> (forge_o ->> 'column') ->> 1)
    else forge_a.operation = forge_by end)

-- Inserts the join rows of new rows. The parameters are two arrays: the keys of the owner and of the target of each.
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

-- Replaces the targets of an existing row.
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

-- The new targets, in order.
-- name: given
array(select distinct forge_x from unnest(%($name)s::$type[]) forge_x order by 1) as $field

-- The existing targets, changed by the difference between those that the client received and the new ones.
-- name: merged
array(select forge_x from unnest((select forge_prior.$field from forge_prior)) forge_x
  where forge_x <> all(%(forge_seen_$name)s::$type[]) or forge_x = any(%($name)s::$type[])
  union select forge_x from unnest(%($name)s::$type[]) forge_x
  where forge_x <> all(%(forge_seen_$name)s::$type[]) order by 1) as $field

-- PERF: composes the text of each field that differs. Comparing two rows as JSON took four times as long, an aggregate
-- over their fields twice as long (benchmarks/writes.py).
-- name: audit
forge_audit_$operation as (
insert into forge_audit (tenant_id, topic, resource_id, operation, version, actor, request_id, changes$reason_name)
select $tenant::uuid, $topic, $source.$key::text, '$operation', $source."version",
  %(forge_actor)s::text, %(forge_request)s::text, ('{' || $fields || '}')::jsonb$reason_value
from $source$others
)

-- A duration as JSON has it: without days and hours that are zero, and without the last zeros. A day is 24 hours.
-- name: duration
regexp_replace(to_char(justify_hours({}), '"P"FMDDD"DT"FMHH24"H"FMMI"M"FMSS.US"S"'),
  '(?<=P)0D|(?<=T)0H(0M)?|[.]?0+(?=S)', '', 'g')
