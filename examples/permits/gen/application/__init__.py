"""Application, generated from resources/application/schema.py. Do not edit: the next `forge-min generate` replaces it."""

from .actions import ApplicationActions
from .model import (
    ApplicationCreate,
    ApplicationFilter,
    ApplicationRow,
    ApplicationUpdate,
    to_json,
)
from .resource import RESOURCE

__all__ = [
    "RESOURCE",
    "ApplicationActions",
    "ApplicationCreate",
    "ApplicationFilter",
    "ApplicationRow",
    "ApplicationUpdate",
    "to_json",
]
