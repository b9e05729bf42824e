"""The SQL statements of airports, generated from resources/airport/schema.py. Do not edit."""

SELECT = """\
select
  "id", "icao", "iata", "name", "city", "country_id", "latitude", "longitude", "elevation",
  "time_zone", "nearest_id", "nearest_km", "version", "created_at", "updated_at"
from "airports"
"""

INSERT = """\
insert into "airports" (
  "id", "icao", "iata", "name", "city", "country_id", "latitude", "longitude", "elevation",
  "time_zone", "nearest_id", "nearest_km"
) values (
  %(id)s, %(icao)s, %(iata)s, %(name)s, %(city)s, %(country_id)s, %(latitude)s,
  %(longitude)s, %(elevation)s, %(time_zone)s, %(nearest_id)s, %(nearest_km)s
)
returning *
"""

INSERT_MANY = """\
insert into "airports" (
  "id", "icao", "iata", "name", "city", "country_id", "latitude", "longitude", "elevation",
  "time_zone", "nearest_id", "nearest_km"
)
select forge_given.* from unnest(
  %(id)s::uuid[],
  %(icao)s::text[],
  %(iata)s::text[],
  %(name)s::text[],
  %(city)s::text[],
  %(country_id)s::uuid[],
  %(latitude)s::numeric[],
  %(longitude)s::numeric[],
  %(elevation)s::integer[],
  %(time_zone)s::text[],
  %(nearest_id)s::uuid[],
  %(nearest_km)s::numeric[]
) as forge_given
returning *
"""
