-- forge: generated

create table products (
  id uuid default forge_uuid7() not null,
  name varchar(100) not null,
  price integer not null,
  status text not null,
  version bigint default 1 not null,
  created_at timestamptz default now() not null,
  updated_at timestamptz default now() not null,
  constraint products_pkey primary key (id),
  constraint products_name_min_len check (char_length(name) >= 1),
  constraint products_price_min check (price >= 0),
  constraint products_status_check check (status in ('active', 'draft', 'sold', 'archived', 'new'))
);

create index products_name_idx on products (name, id);
create index products_price_idx on products (price, id);
create index products_status_idx on products (status);

-- forge: down
drop table products;
