"""What stands around the router of every application: who asks, what the caller
takes, other origins, compression, rate limits.
"""

from .accept import json_only
from .compress import Compress
from .concurrency import ConcurrencyLimit
from .cors import CORS
from .csrf import CSRF, check_csrf, csrf_field
from .identify import (
    Identify,
    Method,
    bearer,
    no_tenant,
    tenant_by_header,
    tenant_by_path,
    tenant_by_subdomain,
    tenant_in_path,
)
from .limits import RateLimits

__all__ = [
    "CORS", "CSRF", "Compress", "ConcurrencyLimit", "Identify", "Method", "RateLimits", "bearer",
    "check_csrf", "csrf_field", "json_only", "no_tenant", "tenant_by_header", "tenant_by_path",
    "tenant_by_subdomain", "tenant_in_path",
]  # fmt: skip
