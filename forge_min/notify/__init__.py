"""Committed changes on their way to whoever listens: the event log, the hubs that read it, the
nudger.

The loop of threads that work with the database is imported by its path, `db.thread`.
"""

from ..db import DATABASE_ERRORS, DatabaseThread
from .eventlog import check_names, event_fragment, publish_tx
from .hub import CLOSE, Encode, Event, Hub, Opened, TopicKey, refresh_frame
from .listener import Listener, Nudger
from .memory import MemoryHub
from .postgres import PostgresHub

__all__ = [
    "CLOSE", "DATABASE_ERRORS", "DatabaseThread", "Encode", "Event", "Hub", "Listener", "MemoryHub",
    "Nudger", "Opened", "PostgresHub", "TopicKey", "check_names", "event_fragment", "publish_tx",
    "refresh_frame",
]  # fmt: skip
