"""Profiles of this process: its time, its memory, and the stacks of its threads.

Nothing runs and nothing is stored before an inspection.
"""

from .flame import flame_graph
from .inspector import Inspection, Inspector
from .sampling import Profile, Wait, format_collapsed, merge_profiles

__all__ = [
    "Inspection", "Inspector", "Profile", "Wait", "flame_graph", "format_collapsed",
    "merge_profiles",
]  # fmt: skip
