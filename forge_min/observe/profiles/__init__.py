"""Profiles of this process: its time, its memory, and the stacks of its threads.

Nothing runs and nothing is stored before an inspection.
"""

from .inspector import Inspection, Inspector
from .sampling import Profile, Wait

__all__ = ["Inspection", "Inspector", "Profile", "Wait"]
