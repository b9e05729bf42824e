"""Profiles: where this process spends its time, what fills its memory, what each thread does.

Nothing here runs, and nothing is kept, until somebody asks.
"""

from .flame import flame_graph
from .inspector import Inspection, Inspector
from .sampling import Profile, Wait, format_collapsed, merge_profiles

__all__ = [
    "Inspection", "Inspector", "Profile", "Wait", "flame_graph", "format_collapsed",
    "merge_profiles",
]  # fmt: skip
