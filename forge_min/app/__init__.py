"""The application: what a project declares in its app.py, and the services that run it."""

from .declaration import App, Generated
from .running import Running

__all__ = ["App", "Generated", "Running"]
