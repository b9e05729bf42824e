"""Reading: list queries, cursors, related rows. Nothing here writes."""
