"""Everything that a project needs on a machine without network, pinned by hash."""
