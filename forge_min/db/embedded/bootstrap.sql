-- What a fresh server lacks. Each statement gives the statement to run, if any, as text.

-- name: owner
select format('create role %%I login createdb createrole password %%L', %(owner)s::text, %(password)s::text)
where not exists (select from pg_roles where rolname = %(owner)s)

-- name: database
select format('create database %%I owner %%I', %(database)s::text, %(owner)s::text)
where not exists (select from pg_database where datname = %(database)s)
