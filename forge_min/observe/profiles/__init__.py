"""Profiles of this process: its time, its memory, and the stacks of its threads.

Nothing runs and nothing is stored before an inspection.
"""

__all__: list[str] = []
