"""How every answer is written: as JSON, byte for byte as in the reference answers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

CONTENT_TYPE: Final = "application/json;charset=UTF-8"
# RFC 6749 §5.1, and §5.2 for errors. Caches that ignore no-store, as Django's long did, obey private or Vary.
NO_STORE: Final = {"Cache-Control": "private, no-store", "Pragma": "no-cache", "Vary": "Authorization"}


class JSONRenderer(BaseRenderer):
    """Writes JSON as the reference answers do: with a space after comma and colon."""

    media_type = CONTENT_TYPE
    format = "json"
    charset = None

    def render(
        self,
        data: Any,
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, Any] | None = None,
    ) -> bytes:
        """Return the bytes of the body; it is empty for an answer without content, such as 304."""
        return b"" if data is None else json.dumps(data).encode("ascii")


class OneRepresentation(BaseContentNegotiation):
    """Ignores the Accept header: every answer is JSON, and an error must reach the client as JSON too."""

    def select_parser(self, request: Request, parsers: Iterable[BaseParser]) -> BaseParser | None:
        """Return the parser if the content has its media type."""
        parser = next(iter(parsers))
        media_type = request._request.content_type or ""
        return parser if media_type.lower() == parser.media_type else None

    def select_renderer(
        self, request: Request, renderers: Iterable[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        """Return the only renderer."""
        return next(iter(renderers)), CONTENT_TYPE
