"""Reading the body of a request, bounded, and taking it out of the request."""

from __future__ import annotations

from typing import Any, Final

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, QueryDict
from django.http.request import UnreadablePostError
from django.utils.datastructures import MultiValueDict

from django_ciam_token.errors import ContentTooLarge, InvalidRequest, LengthRequired

LARGEST_BODY: Final = 16 * 1024
_LARGEST_REST: Final = 1024 * 1024
_CHUNK: Final = 64 * 1024


def length_of_body(request: HttpRequest) -> int | None:
    """Return the length of a body in bytes; None if it was sent without one, and can be read to its end.

    Raises:
        LengthRequired: it was sent in chunks, and the server does not mark the end.
    """
    meta = request.META
    text = meta.get("CONTENT_LENGTH")
    if text:
        return _number(text)
    # Under ASGI, Django has read the body before the view begins. A WSGI server says so if it marks the end.
    if isinstance(request, ASGIRequest) or meta.get("wsgi.input_terminated"):
        return None
    if "HTTP_TRANSFER_ENCODING" in meta:
        raise LengthRequired("send the form with a Content-Length, not in chunks", reason="chunked")
    return 0


def _number(text: str) -> int:
    try:
        return max(0, int(text))
    except ValueError:
        return 0


def read_body(request: HttpRequest, length: int | None) -> bytes:
    """Return the body.

    Args:
        request: the request; middleware may have read its body before.
        length: what `length_of_body` returned.

    Raises:
        ContentTooLarge: the body is longer than `LARGEST_BODY`.
        InvalidRequest: it is shorter than its Content-Length.
        UnreadablePostError: the connection broke.
    """
    if length is not None and length > LARGEST_BODY:
        raise _too_large()
    body = _read(request, length)
    if len(body) > LARGEST_BODY:
        raise _too_large()
    if length is not None and len(body) < length:
        # What is missing may be part of a token, or a whole parameter.
        raise InvalidRequest("the form is shorter than its Content-Length", reason="truncated_body")
    return body


def _too_large() -> ContentTooLarge:
    return ContentTooLarge("the form is larger than 16 KiB", reason="body_too_large")


def _read(request: HttpRequest, length: int | None) -> bytes:
    source: Any = request
    if hasattr(request, "_body") or source._read_started:
        # Middleware has read it, or has consumed the stream, which is an error of the site.
        return request.body
    # Not `request.body`: its limit is the site's, and it reads to the end whatever comes.
    _open(request)
    chunks, missing = [], LARGEST_BODY + 1
    while missing and (chunk := request.read(missing)):
        chunks.append(chunk)
        missing -= len(chunk)
    return b"".join(chunks)


def _open(request: HttpRequest) -> None:
    """Give access to a body without a length, which Django takes for empty under WSGI."""
    meta = request.META
    if meta.get("wsgi.input_terminated") and not meta.get("CONTENT_LENGTH"):
        request._stream = meta["wsgi.input"]


def discard_body(request: HttpRequest) -> None:
    """Read the rest of a body that was refused, within bounds: a server would hang up on the next request.

    A body that is larger still is left to the server.
    """
    if hasattr(request, "_body") or isinstance(request, ASGIRequest):
        return
    missing = _LARGEST_REST
    _open(request)
    try:
        while missing > 0 and (chunk := request.read(_CHUNK)):
            missing -= len(chunk)
    except UnreadablePostError:
        pass


def empty(request: HttpRequest) -> None:
    """Take the body out of a request that was read or refused, so that no error report can hold it."""
    emptied: Any = request
    emptied._body = b""
    if request.content_type == "application/x-www-form-urlencoded" and not request.content_params:
        # The usual case: Django makes both from the empty body if anybody asks for them.
        for name in ("_post", "_files"):
            emptied.__dict__.pop(name, None)
    else:
        emptied._post, emptied._files = QueryDict(encoding="utf-8"), MultiValueDict()
