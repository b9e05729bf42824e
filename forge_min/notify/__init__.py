"""Committed changes on their way to whoever listens: the event log, the hubs that read it, the
nudger.
"""

from .hub import CLOSE, Encode, Event, Hub, Opened, TopicKey, refresh_frame
from .link import Backoff
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
