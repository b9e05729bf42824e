-- Tables of the peers' side: 2,000 products of which a quarter is active, and a table of jobs.
drop table if exists products, jobs;
create table products (
  id uuid primary key default gen_random_uuid(),
  name text not null check (length(name) between 1 and 100),
  price integer not null check (price >= 0),
  status text not null,
  created_at timestamptz not null default now()
);
create table jobs (
  id bigint generated always as identity primary key,
  kind text not null,
  args jsonb not null,
  state text not null default 'available',
  created_at timestamptz not null default now()
);
insert into products (id, name, price, status, created_at)
select ('00000000-0000-0000-0000-' || lpad(to_hex(n), 12, '0'))::uuid,
       'Product <' || n || '> & more', n % 1000,
       (array['active', 'draft', 'sold', 'archived'])[1 + n % 4],
       now() - n * interval '1 minute'
from generate_series(1, 2000) n;
create index on products (status, created_at desc);
create index on jobs (id) where state = 'available';
analyze products;
