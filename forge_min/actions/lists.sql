Lists of large tables. $names are filled in by query.py: names and numbers of our own, never a value.

-- The first rows that match: of $walk, which has the first rows in the order of the list, or if these are fewer than
-- $most, of $every row. Each part is read only if it is needed. OFFSET 0: not planned in the order of the list.
-- name: found
with forge_near as materialized (
select * from (
$walk
) forge_walk
where forge_matches
limit $most
), forge_found as (
select * from forge_near
where (select count(*) from forge_near) >= $most
union all
$every
offset 0
)

-- By the statistics of PostgreSQL; -1 before the first ANALYZE.
-- name: rows
select reltuples from pg_class where oid = quote_ident(%(table)s)::regclass

-- The characters of a value, x for a letter and a space for any other. The letters of pg_trgm are those of the
-- database's LC_CTYPE, with "C" only ASCII.
-- name: letters
select string_agg(case when show_trgm(c) = '{}' then ' ' else 'x' end, '' order by n)
from string_to_table(%(forge_value)s::text, null) with ordinality _(c, n)
