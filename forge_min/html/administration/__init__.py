"""The pages of administrators: users, tenants and API keys, below /-/."""

from .keys import KeyPages
from .people import PeoplePages
from .tenants import TenantPages

__all__ = ["KeyPages", "PeoplePages", "TenantPages"]
