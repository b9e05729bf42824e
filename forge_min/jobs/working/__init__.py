"""The threads of a worker: they fetch, run, acknowledge, and tell that they live."""

from .worker import Worker

__all__ = ["Worker"]
