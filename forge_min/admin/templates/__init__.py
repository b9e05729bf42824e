"""The pages of the admin server; setup.py compiles each to the module of its name."""

__all__ = ["job", "jobs", "overview", "profiles", "queues", "sign_in", "traces"]
