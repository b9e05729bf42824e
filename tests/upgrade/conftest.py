"""The stored project has tests of its own, which run inside of its copy only."""

collect_ignore = ["ward"]
