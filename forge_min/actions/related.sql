Related rows. $names are filled by listing.py: names of our own, never a value.

-- In: forge_keys, the values that lead there. Out: the value that led there, then the target's columns; the newest
-- first, at most $limit per value.
-- name: rows
select forge_from.forge_key, forge_to.*
from unnest(%(forge_keys)s::$array) forge_from(forge_key)
cross join lateral (
$select
where $where
order by $key desc
limit $limit
) forge_to
order by $key desc

-- name: direct
$column = forge_from.forge_key

-- The keys as an array, so that the planner looks them up in the index; an IN lets it walk through the whole
-- target in order of its keys until it has found enough.
-- name: joined
$key = any(array(
  select $other from $join
  where $column = forge_from.forge_key$tenant))
