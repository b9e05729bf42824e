-- forge: generated
-- forge: no transaction
-- Asked for with --allow-destructive: the computed column writes every row anew under a lock, which
-- for 28,298 airports takes a second.

alter table airports
  add column forge_search tsvector generated always as (setweight(to_tsvector('simple', coalesce(name, '')), 'A') || setweight(to_tsvector('simple', coalesce(city, '')), 'B')) stored;

-- What an interrupted build left.
drop index concurrently if exists airports_search;

create index concurrently airports_search on airports using gin (forge_search);

-- forge: down
drop index airports_search;

alter table airports
  drop column forge_search;
