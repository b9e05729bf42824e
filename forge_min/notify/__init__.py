"""Committed changes on their way to whoever listens: the event log, the hubs that read it, the
nudger.
"""

from .backoff import Backoff
from .event import CLOSE, Event, Opened, TopicKey, refresh_frame
from .hub import Encode, Hub
from .memory import MemoryHub
from .nudger import Nudger
from .postgres import PostgresHub
from .publish import event_fragment, publish_tx

__all__ = [
    "CLOSE",
    "Backoff",
    "Encode",
    "Event",
    "Hub",
    "MemoryHub",
    "Nudger",
    "Opened",
    "PostgresHub",
    "TopicKey",
    "event_fragment",
    "publish_tx",
    "refresh_frame",
]
