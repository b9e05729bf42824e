"""The application: what a project declares in its app.py, and the services that run it."""

from .declaration import App, Generated, declared_kinds, declared_queues, declared_registry
from .running import Running

__all__ = ["App", "Generated", "Running", "declared_kinds", "declared_queues", "declared_registry"]
