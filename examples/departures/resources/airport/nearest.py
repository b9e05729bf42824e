"""Which airport is nearest to a place: a box on the index, widened until it holds the answer."""

from __future__ import annotations

import math
from typing import Any
from uuid import UUID

KM_PER_DEGREE = 111.19492664  # of latitude, on a sphere of the Earth's mean radius, 6,371.0088 km

NEAREST = """
select "id", 2 * 6371.0088 * asin(least(1, sqrt(
         sin(radians(("latitude"::float8 - %(latitude)s) / 2)) ^ 2
       + cos(radians(%(latitude)s)) * cos(radians("latitude"::float8))
         * sin(radians(("longitude"::float8 - %(longitude)s) / 2)) ^ 2))) as km
from airports
where point("longitude"::float8, "latitude"::float8) <@ any(%(boxes)s::box[])
  and "id" <> %(id)s
order by km, "id"
limit 1
"""


def boxes(latitude: float, longitude: float, degrees: float) -> str:
    """The box around a place, `degrees` of latitude each way, as a PostgreSQL array; two boxes
    if it crosses 180°.
    """
    south, north = latitude - degrees, latitude + degrees
    reach = 180.0
    if south > -90 and north < 90:
        # The meridians converge: the widest latitude of the box decides how far east and west it
        # must go.
        reach = min(180.0, degrees / math.cos(math.radians(max(abs(south), abs(north)))))
    shifts = (0, 360 if longitude < 0 else -360)
    found = [
        f"({longitude - reach + shift!r},{south!r}),({longitude + reach + shift!r},{north!r})"
        for shift in shifts
    ]
    return "{" + ";".join(found) + "}"


def nearest(conn: Any, id: UUID, latitude: float, longitude: float) -> tuple[UUID, float] | None:
    """The nearest other airport and its distance in km; None without another airport."""
    degrees = 0.25
    while True:
        params = {
            "id": id,
            "latitude": latitude,
            "longitude": longitude,
            "boxes": boxes(latitude, longitude, degrees),
        }
        row = conn.execute(NEAREST, params).fetchone()
        if row is not None and row[1] <= degrees * KM_PER_DEGREE:
            return row[0], row[1]
        if degrees >= 180:
            return row and (row[0], row[1])
        # An airport in a corner of the box may be further away than one just outside of it.
        degrees = min(180.0, row[1] / KM_PER_DEGREE * 1.001 if row else degrees * 3)
