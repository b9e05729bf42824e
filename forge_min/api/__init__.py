"""The JSON API of resources: request handlers, the OpenAPI document and the event streams."""

from .events import StreamReauthorizer, events_handler
from .openapi import build_document, document_handlers
from .resource import ResourceAPI

__all__ = [
    "ResourceAPI", "StreamReauthorizer", "build_document", "document_handlers", "events_handler",
]  # fmt: skip
