"""Everything that a project needs on a machine without network, pinned by hash."""

__all__: list[str] = []
