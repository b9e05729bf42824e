"""The page /jobs of the admin server: queues, workers, one job, what a person may do to them."""

from .pages import JobsPages

__all__ = ["JobsPages"]
