"""The HTTP/1.1 server: an event core of our own around the stdlib's binding and lifecycle."""

from .server import Server, ServerThread, inherited_listener

__all__ = ["Server", "ServerThread", "inherited_listener"]
