-- Creates the missing objects of a new server.

-- name: missing
-- Returns the statements to run, one per row: the owner's role, then the database.
select format(
  'create role %%I login createdb createrole password %%L', %(owner)s::text, %(password)s::text)
where not exists (select from pg_roles where rolname = %(owner)s)
union all
select format('create database %%I owner %%I', %(database)s::text, %(owner)s::text)
where not exists (select from pg_database where datname = %(database)s)
