-- forge: generated

create table documents (
  id uuid default forge_uuid7() not null,
  name varchar(100),
  content jsonb,
  version bigint default 1 not null,
  constraint documents_pkey primary key (id)
);

create index documents_name_idx on documents (name, id);

-- forge: down
drop table documents;
