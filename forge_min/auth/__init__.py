"""Who is calling: the identity of this request or job, in a context variable. Login methods are not
here yet.
"""

from .identity import ANONYMOUS, Identity, as_identity, current_identity, require

__all__ = ["ANONYMOUS", "Identity", "as_identity", "current_identity", "require"]
