"""What stands around the router of every application: what the caller takes, other origins,
compression, rate limits.
"""

from .accept import AcceptsJSON
from .compress import Compress
from .cors import CORS
from .limits import RateLimits

__all__ = ["CORS", "AcceptsJSON", "Compress", "RateLimits"]
