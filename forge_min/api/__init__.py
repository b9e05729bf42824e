"""The JSON API of resources: their routes, the OpenAPI document and the event streams."""

from .events import StreamReauthorizer, events_handler
from .openapi import document, handlers
from .resource import ResourceAPI

__all__ = ["StreamReauthorizer", "ResourceAPI", "document", "events_handler", "handlers"]
