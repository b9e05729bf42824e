Aggregates. $names are filled in by aggregate.py: names of our own, never a value.

-- name: groups
select $terms
from $source$where
group by ($keys)
order by $order
limit $limit

-- The last second of 9999 in UTC may be in the year 10000 of a zone, which Python lacks.
-- name: datetime
case when $name is not null then date_trunc('$period',
  greatest(least($name at time zone %(forge_zone)s::text, '9999-12-31'), '0001-01-01'))::date end

-- name: date
date_trunc('$period', $name::timestamp)::date
