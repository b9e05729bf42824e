"""The actions of Airport, with this project's own rule: an airport is not its own neighbour."""

from forge_min.actions import Check

from gen.airport import AirportActions as Generated


class AirportActions(Generated):
    """list, get, create, update, delete and create_many of airports."""

    def validate(self, check: Check) -> None:
        """A nearest airport needs a distance, and the other way round."""
        values = check.values
        if "nearest_id" in values and (values["nearest_id"] is None) != (
            values.get("nearest_km") is None
        ):
            check.error("nearest_km", "together", "comes and goes with nearest_id")
