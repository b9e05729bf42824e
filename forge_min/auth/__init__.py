"""Identities, accounts and credentials: the caller of this request or job, in a context variable.

`accounts`, `administration`, `credentials` and `signing` load psycopg: this file does not import
them.
"""

from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
    from . import accounts, administration, credentials, signing


__all__ = [
    "ANONYMOUS", "Identity", "Renew", "SESSION", "SYSTEM", "accounts", "administration",
    "as_identity", "credentials", "current_identity", "for_job", "require",
    "require_one_of", "signing", "to_metadata",
]  # fmt: skip
