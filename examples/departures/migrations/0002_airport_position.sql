-- Written by hand: the index behind "which airport is nearest?" (resources/airport/nearest.py).
-- A GiST index on a point answers box searches (PostgreSQL manual, 65.2).
create index airports_position_idx on airports
  using gist (point(longitude::double precision, latitude::double precision));

-- forge: down
drop index airports_position_idx;
