"""Configuration: defaults < forge.toml < environment, from one table of every key.

Only the root of an application takes a Config; every service takes plain values.
"""

from .load import inspect, load
from .settings import Config
from .table import LONGEST, TABLE, ConfigKey
from .values import parse_duration, parse_rate, parse_size

__all__ = [
    "Config", "ConfigKey", "LONGEST", "TABLE", "inspect", "load", "parse_duration", "parse_rate",
    "parse_size",
]  # fmt: skip
