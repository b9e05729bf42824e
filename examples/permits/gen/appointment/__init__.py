"""Appointment, generated from resources/appointment/schema.py. Do not edit: the next `forge-min generate` replaces it."""

from .actions import AppointmentActions
from .model import (
    AppointmentCreate,
    AppointmentFilter,
    AppointmentRow,
    AppointmentUpdate,
    to_json,
)
from .resource import RESOURCE

__all__ = [
    "RESOURCE",
    "AppointmentActions",
    "AppointmentCreate",
    "AppointmentFilter",
    "AppointmentRow",
    "AppointmentUpdate",
    "to_json",
]
