"""The stack of every thread as text. Reads frames while they run; stops nothing."""

from __future__ import annotations

import sys
import threading
import traceback


def all_stacks() -> str:
    """One paragraph per thread: its name, ident and daemon flag, then the innermost call last."""
    threads = {thread.ident: thread for thread in threading.enumerate()}
    parts = []
    for ident, frame in sorted(sys._current_frames().items()):
        thread = threads.get(ident)
        name = thread.name if thread else "(not made by threading)"
        daemon = " daemon" if thread and thread.daemon else ""
        stack = "".join(traceback.format_stack(frame))
        parts.append(f'Thread "{name}" {ident}{daemon}\n{stack}')
    return "\n".join(parts)
