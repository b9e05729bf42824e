"""Live events: the log of committed changes, the hub that reads it, and notifications."""

from .eventlog import check_names, event_fragment, publish_tx
from .events import BeginBatch, Encode, Event, Opened, TopicKey, refresh_frame
from .listener import Listener, Nudger
from .postgres import PostgresHub

__all__ = [
    "BeginBatch", "Encode", "Event", "Listener", "Nudger", "Opened", "PostgresHub", "TopicKey",
    "check_names", "event_fragment", "publish_tx", "refresh_frame",
]  # fmt: skip
