Related rows. $names are filled in by lists/related.py: names of our own, never a value.

-- forge_keys: values of the foreign key. The result has the value, then the columns of the target: the newest first, at
-- most $limit per value.
-- name: rows
select forge_from.forge_key, forge_to.*
from unnest(%(forge_keys)s::$type[]) forge_from(forge_key)
cross join lateral (
$select
where $where
order by $key desc
limit $limit
) forge_to
order by $key desc

-- name: direct
$column = forge_from.forge_key

-- The keys are an array, so that the planner looks them up in the index; with IN it may scan the whole target in the
-- order of its keys until it has enough rows.
-- name: joined
$key = any(array(
  select $other from $join
  where $column = forge_from.forge_key$tenant))
