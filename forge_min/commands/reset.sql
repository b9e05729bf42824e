-- name: sequences
select sequencename, last_value from pg_sequences
 where schemaname = 'public' and sequencename like 'forge\_%' and last_value is not null;

-- name: set_sequence
select setval(to_regclass(%s), %s);

-- name: drop_all
-- Everything in the schema public that belongs to no extension; what depends on it goes with it.
do $$
declare
  statements text[];
  statement text;
begin
  -- All names are read before the first object goes; a table takes its sequences and indexes along.
  select array_agg(format('drop %s if exists %s cascade', kind, name) order by kind <> 'table')
    into statements
    from (
      select case relkind when 'v' then 'view' when 'm' then 'materialized view'
               when 'S' then 'sequence' when 'f' then 'foreign table' when 'c' then 'type'
               else 'table' end as kind,
             oid::regclass::text as name, 'pg_class'::regclass as class, oid
        from pg_class
       where relnamespace = 'public'::regnamespace and relkind in ('r', 'p', 'v', 'm', 'S', 'f', 'c')
      union all
      select 'routine', oid::regprocedure::text, 'pg_proc'::regclass, oid
        from pg_proc where pronamespace = 'public'::regnamespace
      union all
      select case typtype when 'd' then 'domain' else 'type' end, oid::regtype::text,
             'pg_type'::regclass, oid
        from pg_type where typnamespace = 'public'::regnamespace and typtype in ('d', 'e', 'r')
      union all
      select 'text search configuration', oid::regconfig::text, 'pg_ts_config'::regclass, oid
        from pg_ts_config where cfgnamespace = 'public'::regnamespace
      union all
      select 'text search dictionary', oid::regdictionary::text, 'pg_ts_dict'::regclass, oid
        from pg_ts_dict where dictnamespace = 'public'::regnamespace
      union all
      select 'collation', oid::regcollation::text, 'pg_collation'::regclass, oid
        from pg_collation where collnamespace = 'public'::regnamespace
    ) as found
   where not exists (
     select from pg_depend where classid = found.class and objid = found.oid and deptype = 'e'
   );
  foreach statement in array coalesce(statements, '{}') loop
    execute statement;
  end loop;
end
$$
