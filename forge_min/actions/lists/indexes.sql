The indexes of a table, which decide whether its lists are fast.

-- The columns of each B-tree of all rows that are not deleted, without tenant_id, "-" before those in descending order.
-- name: indexes
select array(
  select case when i.indoption[n] & 1 = 1 then '-' else '' end || a.attname
  from generate_series(0, i.indnkeyatts - 1) n
    join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[n] and a.attname <> 'tenant_id'
  order by n
)
from pg_index i join pg_class c on c.oid = i.indexrelid join pg_am m on m.oid = c.relam
where i.indrelid = to_regclass(%(table)s) and i.indisvalid and m.amname = 'btree'
  and i.indexprs is null and coalesce(pg_get_expr(i.indpred, i.indrelid), '(deleted_at IS NULL)') = '(deleted_at IS NULL)'
