"""The artifact: its members, compiled and written reproducibly."""

__all__: list[str] = []
