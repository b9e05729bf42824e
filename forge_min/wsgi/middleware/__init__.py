"""Middleware of every application: authentication, CSRF, CORS, compression, limits.

Other packages import it from `forge_min.wsgi`.
"""

__all__: list[str] = []
