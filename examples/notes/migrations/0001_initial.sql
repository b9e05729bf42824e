-- forge: generated

create table notes (
  id uuid default forge_uuid7() not null,
  title varchar(120) not null,
  body text,
  done boolean default false not null,
  version bigint default 1 not null,
  created_at timestamptz default now() not null,
  updated_at timestamptz default now() not null,
  forge_search tsvector generated always as (setweight(to_tsvector('simple', coalesce(title, '')), 'A')) stored,
  constraint notes_pkey primary key (id),
  constraint notes_title_min_len check (char_length(title) >= 1)
);

create index notes_title_idx on notes (title, id);
create index notes_done_idx on notes (done);
create index notes_search on notes using gin (forge_search);

-- forge: down
drop table notes;
