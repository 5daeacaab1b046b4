"""Requests as a WSGI server would pass them on, well-formed or not."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from typing import Any


def call(
    application: Any, *, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes
) -> tuple[int, bytes]:
    """Send a request; return the status and the body of the answer."""
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "SERVER_NAME": "id.example.com",
        "SERVER_PORT": "443",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "192.0.2.1",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "https",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": False,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    for name, value in headers.items():
        variable = name.upper().replace("-", "_")
        environ[variable if variable in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{variable}"] = value
    status = 0

    def start_response(line: str, headers: Iterable[tuple[str, str]], exc_info: object = None) -> None:
        nonlocal status
        status = int(line.partition(" ")[0])

    chunks = application(environ, start_response)
    try:
        return status, b"".join(chunks)
    finally:
        chunks.close()
