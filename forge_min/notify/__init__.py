"""Committed changes on their way to whoever listens: the event log, the hubs that read it, the
nudger.

The loop of threads that work with the database is imported by its path, `db.thread`.
"""

from .eventlog import check_names, event_fragment, publish_tx
from .events import BeginBatch, Encode, Event, Opened, TopicKey, refresh_frame
from .listener import Listener, Nudger
from .postgres import PostgresHub

__all__ = [
    "BeginBatch", "Encode", "Event", "Listener",
    "Nudger", "Opened", "PostgresHub", "TopicKey", "check_names", "event_fragment", "publish_tx",
    "refresh_frame",
]  # fmt: skip
