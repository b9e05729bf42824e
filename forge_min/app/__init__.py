"""The application: the declarations of a project's app.py, and the services that run it."""

from ..lazy import lazy_exports
from .declaration import App, ProjectCode, declared_queues
from .manual import ApplicationManual
from .routes import declared_router
from .runtime import Runtime

__all__ = [
    "App", "ApplicationManual", "ProjectCode", "Runtime", "declared_queues", "declared_router",
]  # fmt: skip

__getattr__ = lazy_exports(__name__, {})  # for names of earlier releases
