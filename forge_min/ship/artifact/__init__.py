"""The artifact: its members, compiled and written reproducibly."""
