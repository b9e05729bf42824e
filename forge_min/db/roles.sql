-- The application's role. `create`, `grants` and `settings` return the statements to run, one per row, and whether this
-- role may run it: PostgreSQL would log a refused statement as an error.

-- name: create
select format('create role %%I login password %%L', %(role)s::text, %(password)s::text), rolsuper or rolcreaterole
from pg_roles
where rolname = current_user and not exists (select from pg_roles where rolname = %(role)s)

-- name: grants
-- Without objects of other owners, such as extensions. A role that owns the tables needs no grants.
with me as (select %(role)s::text as role, %(database)s::text as database),
own as (
  select c.relkind = 'S' as sequence, 'public.' || quote_ident(c.relname) as name
  from pg_class c
  where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'f', 'S')
    and pg_has_role(c.relowner, 'USAGE') and c.relname not in ('forge_migration', 'forge_audit')
),
rights(kind, rights, names) as (
  select 'table', 'select, insert, update, delete', string_agg(name, ', ' order by name)
  from own where not sequence
  union all
  select 'sequence', 'usage, select', string_agg(name, ', ' order by name)
  from own where sequence
  union all
  select 'function', 'execute', string_agg(p.oid::regprocedure::text, ', ' order by p.oid)
  from pg_proc p
  where p.pronamespace = 'public'::regnamespace and pg_has_role(p.proowner, 'USAGE')
    and p.prokind = 'f' and not p.prosecdef
)
select statement, allowed from me, lateral (
  select format('grant connect on database %%I to %%I', database, role) as statement,
    has_database_privilege(database, 'CONNECT WITH GRANT OPTION') as allowed
  where not has_database_privilege(role, database, 'CONNECT')
  union all
  select format('grant usage on schema public to %%I', role), has_schema_privilege('public', 'USAGE WITH GRANT OPTION')
  where not has_schema_privilege(role, 'public', 'USAGE')
  union all
  select format('grant %%s on %%s %%s to %%I', rights, kind, names, role), true from rights
  where names is not null
  union all
  select format('alter default privileges in schema public grant %%s on %%ss to %%I', rights, kind, role), true
  from rights
  union all
  select format('grant select on public.forge_migration to %%I', role), true
  union all
  select format('revoke insert, update, delete on public.forge_migration from %%I', role), true
  union all  -- the default privileges above gave it all rights when a migration created it
  select format(statement, role), true
  from (values ('grant select, insert on public.forge_audit to %%I'),
    ('revoke update, delete on public.forge_audit from %%I')) history(statement)
  where to_regclass('public.forge_audit') is not null
) statements
where role <> current_user

-- name: settings
-- Writes defaults for missing settings of the role, and the given settings if they differ. The application
-- relies on UTC: it reads times in it. If only jit is missing and this role may not write it, it is left to doctor (D509):
-- the sessions that need it set it themselves.
with now as (
  select lower(split_part(entry, '=', 1)) as name, substr(entry, strpos(entry, '=') + 1) as value
  from pg_db_role_setting s join pg_roles r on r.oid = s.setrole, unnest(s.setconfig) entry
  where r.rolname = %(role)s and s.setdatabase = 0
),
wanted as (
  select name, value from jsonb_each_text(%(settings)s) given(name, value)
  union all
  select name, value
  from (values ('statement_timeout', '30s'), ('lock_timeout', '5s'), ('timezone', 'UTC'), ('jit', 'off')) preset(name, value)
  where name not in (select name from now)
    and name not in (select jsonb_object_keys(%(settings)s))
),
missing as (
  select name, value from wanted w
  where not exists (select from now n where n.name = lower(w.name) and n.value = w.value)
),
-- Since PostgreSQL 16, CREATEROLE alters only roles with the ADMIN option.
me as (
  select coalesce(bool_or(me.rolsuper or me.oid = r.oid or me.rolcreaterole and not r.rolsuper
    and (current_setting('server_version_num')::int < 160000 or pg_has_role(r.oid, 'MEMBER WITH ADMIN OPTION'))), false) as writes
  from pg_roles me, pg_roles r where me.rolname = current_user and r.rolname = %(role)s
)
select format('alter role %%I set %%I = %%L', %(role)s::text, name, value), writes
from missing, me
where writes or exists (select from missing where name <> 'jit')

-- Reasons why row-level security does not apply to this role, one per row; none if every policy applies.
-- name: unbound
select 'is a superuser' from pg_roles where rolname = current_user and rolsuper
union all
select 'has BYPASSRLS' from pg_roles where rolname = current_user and rolbypassrls
union all
select 'owns ' || string_agg(relname, ', ' order by relname) from pg_class
where relnamespace = 'public'::regnamespace and relrowsecurity and pg_has_role(relowner, 'USAGE')
having count(*) > 0

-- Rights that `grants` would grant and this role does not have, one row per relation. Only objects of the owner
-- of forge_migration count.
-- name: lacking
with own as (
  select c.oid, c.relname, c.relkind from pg_class c
  where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'f', 'S')
    and c.relowner = (select relowner from pg_class where oid = to_regclass('public.forge_migration'))
),
wanted(relname, word, given) as (
  select relname, word, has_table_privilege(oid, word)
  from own, unnest(array['select', 'insert', 'update', 'delete']) word
  where relkind <> 'S' and (relname <> 'forge_migration' or word = 'select')
    and (relname <> 'forge_audit' or word in ('select', 'insert'))
  union all
  select relname, word, has_sequence_privilege(oid, word) from own, unnest(array['usage', 'select']) word
  where relkind = 'S'
)
select string_agg(word, ', ') || ' on ' || relname from wanted where not given group by relname
union all
select 'execute on ' || p.oid::regprocedure::text from pg_proc p
where p.pronamespace = 'public'::regnamespace and p.prokind = 'f' and not p.prosecdef
  and p.proowner = (select relowner from pg_class where oid = to_regclass('public.forge_migration'))
  and not has_function_privilege(p.oid, 'execute')
union all
select 'usage on schema public' where not has_schema_privilege('public', 'usage')
order by 1

-- name: excess
with me as (select * from pg_roles where rolname = current_user and not rolsuper)
select 'create in schema public' from me where has_schema_privilege('public', 'create')
union all
select 'create schemas' from me where has_database_privilege(current_database(), 'create')
union all
select 'create roles' from me where rolcreaterole
union all
select 'create databases' from me where rolcreatedb
union all
select 'replicate' from me where rolreplication
union all
select 'change forge_migration' from me
where has_table_privilege(to_regclass('public.forge_migration')::oid, 'insert, update, delete')
union all
select 'change forge_audit' from me, to_regclass('public.forge_audit') history
where has_table_privilege(history::oid, 'delete') or has_any_column_privilege(history::oid, 'update')
union all
select 'truncate ' || string_agg(relname, ', ' order by relname) from me, pg_class c
where relnamespace = 'public'::regnamespace and relkind in ('r', 'p') and has_table_privilege(c.oid, 'truncate')
having count(*) > 0
union all  -- rights that an injected `set role` would give (PostgreSQL manual, section 21.5)
select 'act as ' || string_agg(r.rolname, ', ' order by r.rolname) from me, pg_roles r
where r.oid <> me.oid and pg_has_role(me.oid, r.oid, 'member') and (r.rolsuper or r.rolbypassrls or r.rolname in
  ('pg_execute_server_program', 'pg_read_server_files', 'pg_write_server_files', 'pg_read_all_data', 'pg_write_all_data'))
having count(*) > 0
