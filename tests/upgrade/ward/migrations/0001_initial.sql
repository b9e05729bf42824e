-- forge: generated

create table items (
  id uuid default forge_uuid7() not null,
  title varchar(120) not null,
  done boolean default false not null,
  version bigint default 1 not null,
  created_at timestamptz default now() not null,
  updated_at timestamptz default now() not null,
  constraint items_pkey primary key (id),
  constraint items_title_min_len check (char_length(title) >= 1)
);

create index items_title_idx on items (title, id);
create index items_done_idx on items (done);

-- forge: down
drop table items;
