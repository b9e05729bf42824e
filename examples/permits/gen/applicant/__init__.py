"""Applicant, generated from resources/applicant/schema.py. Do not edit: the next `forge-min generate` replaces it."""

from .actions import ApplicantActions
from .model import (
    ApplicantCreate,
    ApplicantFilter,
    ApplicantRow,
    ApplicantUpdate,
    to_json,
)
from .resource import RESOURCE

__all__ = [
    "RESOURCE",
    "ApplicantActions",
    "ApplicantCreate",
    "ApplicantFilter",
    "ApplicantRow",
    "ApplicantUpdate",
    "to_json",
]
