"""The application: the declarations of a project's app.py, and the services that run it."""

from .._compat import renamed
from .authentication import Authentication
from .declaration import App, Generated, declared_kinds, declared_queues, declared_registry
from .routes import build_router
from .runtime import Runtime

__all__ = [
    "App", "Authentication", "Generated", "Runtime", "build_router", "declared_kinds",
    "declared_queues", "declared_registry",
]  # fmt: skip


def __getattr__(name: str) -> object:
    return globals()[renamed(__name__, name)]
