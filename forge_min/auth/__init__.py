"""Who is calling: the identity of this request or job, in a context variable.

`accounts`, `credentials` and `signing` are imported by path: they load psycopg.
"""

from .identity import (
    ANONYMOUS,
    SESSION,
    SYSTEM,
    Identity,
    Renew,
    as_identity,
    current_identity,
    for_job,
    require,
    require_one_of,
    to_metadata,
)

__all__ = [
    "ANONYMOUS", "SESSION", "SYSTEM", "Identity", "Renew", "as_identity", "current_identity",
    "for_job", "require", "require_one_of", "to_metadata",
]  # fmt: skip
