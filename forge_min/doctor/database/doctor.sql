The queries of doctor. Each statement reads the catalog or a clock, in a read-only transaction.

-- name: limits
select set_config('statement_timeout', %(patience)s, true), set_config('lock_timeout', '1s', true),
  set_config('forge.tenant_id', '', true)

-- name: server
select current_setting('server_version'), pg_is_in_recovery(), current_setting('default_transaction_read_only') = 'on'

-- name: clock
select extract(epoch from clock_timestamp())::float8

-- The settings of a new session of this role; `setting` is the value in our transaction. beyond: whether the value is
-- set by `alter role … in database`, which overrides the role's own.
-- name: session
select name, reset_val, exists (
    select from pg_db_role_setting s, unnest(s.setconfig) entry
    where pg_get_userbyid(s.setrole) = current_user and s.setdatabase <> 0
      and s.setdatabase = (select oid from pg_database where datname = current_database())
      and lower(split_part(entry, '=', 1)) = lower(name)
  ) as beyond
from pg_settings where name in ('statement_timeout', 'lock_timeout', 'TimeZone', 'jit')

-- name: search_path
select current_setting('search_path'), 'public' = any(current_schemas(false))

-- The limits of sessions: of the server, for roles without a privilege; of this role; of this database; -1 is
-- unlimited. Then, for each, the open sessions that cannot be ours. reserved_connections: since PostgreSQL 16.
-- name: sessions
select current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
    - coalesce(current_setting('reserved_connections', true)::int, 0),
  (select rolconnlimit from pg_roles where rolname = current_user),
  (select datconnlimit from pg_database where datname = current_database()),
  others.*
from (
  select count(*), count(*) filter (where usename = current_user), count(*) filter (where datname = current_database())
  from pg_stat_activity
  where usesysid is not null and datid is not null and not (usename = current_user and datname = current_database())
) others

-- data_directory is visible only to superusers and members of pg_read_all_settings.
-- name: size
select pg_database_size(current_database()), (select setting from pg_settings where name = 'data_directory')

-- name: owned
select string_agg(relname, ', ' order by relname) from (
  select relname from pg_class
  where relnamespace = 'public'::regnamespace and relkind in ('r', 'p') and pg_has_role(relowner, 'USAGE')
  order by relname limit 4) owned

-- The statements after which policies bind this role, if another role owns the site's tables; null if none would, or if
-- this role is a superuser, which is not altered.
-- name: bound
select string_agg(step, '; ' order by step) from (
  select format('alter role %I nobypassrls', rolname) step from pg_roles where rolname = current_user and rolbypassrls
  union all
  select format('alter table %I owner to %I', c.relname, pg_get_userbyid(o.relowner)) from pg_class c, pg_class o
  where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and pg_get_userbyid(c.relowner) = current_user
    and o.oid = to_regclass('public.forge_migration')) steps
where not exists (select from pg_roles where rolname = current_user and rolsuper) and not exists (
  select from pg_class where oid = to_regclass('public.forge_migration') and pg_get_userbyid(relowner) = current_user)

-- Tables and views with tenants' rows: those with policies, those that the code declares, and views with tenant_id.
-- policies: number of policies for this role. Of forge_min's own tables, only those with a policy.
-- name: scoped
select c.relname, c.relkind in ('r', 'p'), c.relrowsecurity,
  (select count(*) from pg_policy p where p.polrelid = c.oid
   and (p.polroles = '{0}' or exists (select from unnest(p.polroles) r(role) where pg_has_role(r.role, 'USAGE')))),
  row_security_active(c.oid), greatest(c.reltuples, 0)::float8,
  has_table_privilege(c.oid, 'SELECT')
from pg_class c
where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'v', 'm')
  and exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped)
  and (c.relrowsecurity or exists (select from pg_policy p where p.polrelid = c.oid) or c.relname = any(%(scoped)s::text[])
    or c.relkind in ('v', 'm') and c.relname !~ '^forge_')
order by c.relname

-- The tables with many rows, and the tenant of most of their rows, "" without tenants. Policies hide statistics from the
-- roles that they bind: tables of an unknown tenant are left out.
-- name: large
select c.relname, coalesce((s.most_common_vals::text::text[])[1], (s.histogram_bounds::text::text[])[1], '')
from pg_class c
  left join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped
  left join pg_stats s
    on s.schemaname = 'public' and s.tablename = c.relname and s.attname = a.attname and not s.inherited
where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and c.relname = any(%(tables)s::text[])
  and c.reltuples > 100000 and (a.attname is null or s.attname is not null)
order by c.relname

-- name: tenant
select set_config('forge.tenant_id', %(tenant)s, true)
