"""The page of the API; setup.py compiles it to the module of its name."""

__all__ = ["docs"]
