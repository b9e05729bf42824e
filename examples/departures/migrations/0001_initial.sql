-- forge: generated

create table airports (
  id uuid default forge_uuid7() not null,
  icao varchar(4) not null,
  iata varchar(3),
  name varchar(100) not null,
  city varchar(60),
  country_id uuid not null,
  latitude numeric(9, 6) not null,
  longitude numeric(9, 6) not null,
  elevation integer,
  time_zone varchar(40),
  nearest_id uuid,
  nearest_km numeric(8, 3),
  version bigint default 1 not null,
  created_at timestamptz default now() not null,
  updated_at timestamptz default now() not null,
  constraint airports_pkey primary key (id),
  constraint airports_icao_key unique (icao),
  constraint airports_iata_min_len check (char_length(iata) >= 3),
  constraint airports_iata_key unique (iata),
  constraint airports_latitude_min check (latitude >= -90),
  constraint airports_latitude_max check (latitude <= 90),
  constraint airports_longitude_min check (longitude >= -180),
  constraint airports_longitude_max check (longitude <= 180),
  constraint airports_nearest_km_min check (nearest_km >= 0)
);

create table countries (
  id uuid default forge_uuid7() not null,
  code varchar(2) not null,
  name varchar(80) not null,
  version bigint default 1 not null,
  created_at timestamptz default now() not null,
  updated_at timestamptz default now() not null,
  constraint countries_pkey primary key (id),
  constraint countries_code_min_len check (char_length(code) >= 2),
  constraint countries_code_key unique (code)
);

create table flights (
  id uuid default forge_uuid7() not null,
  number varchar(8) not null,
  origin_id uuid not null,
  destination_id uuid not null,
  status text default 'scheduled' not null,
  gate varchar(4),
  departs_at timestamptz not null,
  arrives_at timestamptz not null,
  version bigint default 1 not null,
  created_at timestamptz default now() not null,
  updated_at timestamptz default now() not null,
  constraint flights_pkey primary key (id),
  constraint flights_status_check check (status in ('scheduled', 'boarding', 'delayed', 'departed', 'cancelled'))
);

alter table airports
  add constraint airports_country_id_fkey foreign key (country_id) references countries (id) on delete restrict;
alter table airports
  add constraint airports_nearest_id_fkey foreign key (nearest_id) references airports (id) on delete set null;
alter table flights
  add constraint flights_origin_id_fkey foreign key (origin_id) references airports (id) on delete restrict;
alter table flights
  add constraint flights_destination_id_fkey foreign key (destination_id) references airports (id) on delete restrict;

create index airports_name_idx on airports (name, id);
create index airports_city_idx on airports (city, id);
create index airports_country_id_idx on airports (country_id);
create index airports_nearest_id_idx on airports (nearest_id);
create index countries_name_idx on countries (name, id);
create index flights_number_idx on flights (number, id);
create index flights_origin_id_idx on flights (origin_id);
create index flights_destination_id_idx on flights (destination_id);
create index flights_status_idx on flights (status, id);
create index flights_gate_idx on flights (gate);
create index flights_departs_at_idx on flights (departs_at, id);
create index flights_arrives_at_idx on flights (arrives_at, id);

-- forge: down
drop table airports, countries, flights;
