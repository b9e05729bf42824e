"""The actions of Country, as generated."""

from gen.country import CountryActions as Generated


class CountryActions(Generated):
    """list, get, create, update, delete and create_many of countries."""
