"""Two servers on two loopback origins: the site, and the single-page application."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.management.base import CommandError
from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler
from django.core.wsgi import get_wsgi_application

FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/app.css": ("app.css", "text/css; charset=utf-8"),
    "/app.js": ("app.js", "text/javascript; charset=utf-8"),
}
FOLDER = Path(__file__).resolve().parent / "application"


class QuietHandler(WSGIRequestHandler):
    """Serves without a log line per request: the command prints what matters."""

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name of the base class
        """Print nothing."""


@contextmanager
def serving(port: int) -> Iterator[tuple[ThreadedWSGIServer, str]]:
    """Bind a loopback port (0 for any) and serve it in the background; yield the server and its address.

    Set its application before anybody calls.
    """
    try:
        server = ThreadedWSGIServer(("127.0.0.1", port), QuietHandler)
    except OSError as error:
        raise CommandError(f"Port {port} can't be used ({error.strerror}). Try: demo --port 9000") from error
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def site() -> Any:
    """Return the site with its static files."""
    return StaticFilesHandler(get_wsgi_application())


def single_page_application(*, issuer: str, client_id: str) -> Callable[..., Iterable[bytes]]:
    """Return the WSGI application that serves the files of the single-page application."""
    config = json.dumps({"issuer": issuer, "client_id": client_id}).encode()
    policy = (
        f"default-src 'self'; connect-src 'self' {issuer}; img-src 'self' data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    shared = [
        ("Content-Security-Policy", policy),
        ("Referrer-Policy", "no-referrer"),
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
    ]

    def serve(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == "/config.json":
            start_response("200 OK", [("Content-Type", "application/json"), *shared])
            return [config]
        if path not in FILES:
            start_response("404 Not Found", [("Content-Type", "text/plain"), *shared])
            return [b"Not found\n"]
        name, content_type = FILES[path]
        start_response("200 OK", [("Content-Type", content_type), *shared])
        return [(FOLDER / name).read_bytes()]

    return serve
