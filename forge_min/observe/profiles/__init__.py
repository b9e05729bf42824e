"""Profiles: where this process spends its time, what fills its memory, what each thread does.

Nothing here runs, and nothing is kept, until somebody asks.
"""

from .flame import flame_graph
from .inspector import Inspector, Question
from .sampling import Profile, Wait, collapsed, merged

__all__ = [
    "Inspector", "Profile", "Question", "Wait", "collapsed", "flame_graph", "merged",
]  # fmt: skip
