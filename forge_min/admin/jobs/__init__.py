"""The page /jobs of the admin server: queues, workers and jobs, and their actions."""

from .pages import JobsPages

__all__ = ["JobsPages"]
