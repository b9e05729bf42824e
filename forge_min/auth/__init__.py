"""Who is calling: the identity of this request or job, in a context variable.

`accounts`, `keys` and `passwords` are imported by path: they load psycopg.
"""

from .identity import (
    ANONYMOUS,
    SYSTEM,
    Identity,
    Renew,
    as_identity,
    current_identity,
    for_job,
    require,
    to_metadata,
)

__all__ = [
    "ANONYMOUS", "SYSTEM", "Identity", "Renew", "as_identity", "current_identity", "for_job",
    "require", "to_metadata",
]  # fmt: skip
