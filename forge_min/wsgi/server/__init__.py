"""The HTTP/1.1 server: its socket, its threads, and the run of each request."""

from .server import Server, ServerThread, inherited_listener

__all__ = ["Server", "ServerThread", "inherited_listener"]
