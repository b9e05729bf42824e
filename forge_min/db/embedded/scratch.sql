-- Scratch databases.

-- Nobody is connected to them.
-- name: unused
select datname from pg_database d where starts_with(datname, %s)
  and not exists (select from pg_stat_activity a where a.datid = d.oid);
