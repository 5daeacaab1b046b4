"""Reading the form of a token request, strictly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import IO, Any, Final
from urllib.parse import parse_qsl

from django.http import HttpRequest
from rest_framework.parsers import BaseParser

from django_ciam_token.errors import ContentTooLarge, InvalidRequest, LengthRequired, UnsupportedContent

SEND_A_FORM: Final = (
    "send a form: Content-Type application/x-www-form-urlencoded "
    "(in tests: django_ciam_token.testing.post_form)"
)
LARGEST_BODY: Final = 16 * 1024
_MOST_FIELDS: Final = 100
# The two parameters that later RFCs allow a client to repeat (RFC 8707 §2, RFC 8693 §2.1). They are unused.
_REPEATABLE: Final = frozenset({"resource", "audience"})


class Form(dict[str, str]):
    """Parameters that were parsed strictly: each was sent once, and none is empty."""


class StrictFormParser(BaseParser):
    """Makes ``request.data`` the form that `read_form` returns."""

    media_type = "application/x-www-form-urlencoded"

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Form:
        """Return the form of the request."""
        return read_form((parser_context or {})["request"]._request)


def read_form(request: HttpRequest) -> Form:
    """Return the parameters of a form that have a value; an empty form if there is no body.

    The body stays readable for other code that looks at the request.

    Raises:
        LengthRequired: it was sent in chunks.
        UnsupportedContent: the content is not a form, is not in UTF-8, or is compressed.
        ContentTooLarge: the body is longer than `LARGEST_BODY`.
        InvalidRequest: the form is not valid UTF-8, contains a NUL, or repeats a parameter.
    """
    meta = request.META
    if "HTTP_TRANSFER_ENCODING" in meta and not meta.get("CONTENT_LENGTH"):
        raise LengthRequired("send the form with a Content-Length, not in chunks", reason="chunked")
    length = _length(meta.get("CONTENT_LENGTH"))
    if length == 0:
        return Form()
    if request.content_type != StrictFormParser.media_type:
        raise UnsupportedContent(SEND_A_FORM, reason="not_a_form")
    if (request.content_params or {}).get("charset", "utf-8").lower() not in ("utf-8", "utf8"):
        raise UnsupportedContent("encode the form as UTF-8", reason="wrong_charset")
    if meta.get("HTTP_CONTENT_ENCODING", "identity").lower() != "identity":
        raise UnsupportedContent("do not compress the form", reason="compressed_body")
    if length > LARGEST_BODY or len(request.body) > LARGEST_BODY:
        raise ContentTooLarge("the form is larger than 16 KiB", reason="body_too_large")
    return parse_form(request.body)


def _length(text: str | None) -> int:
    try:
        return int(text or 0)
    except ValueError:
        return 0


def parse_form(body: bytes) -> Form:
    """Return the parameters of a form that have a value (RFC 6749 §3.2, appendix B).

    Raises:
        InvalidRequest: as in `read_form`.
    """
    try:
        pairs = parse_qsl(
            body.decode("utf-8"),
            keep_blank_values=True,
            encoding="utf-8",
            errors="strict",
            max_num_fields=_MOST_FIELDS,
        )
    except UnicodeDecodeError:
        raise InvalidRequest("the form is not valid UTF-8", reason="invalid_utf8") from None
    except ValueError:
        raise InvalidRequest("the form has more than 100 parameters", reason="too_many_fields") from None
    parameters: dict[str, str] = {}
    for name, value in pairs:
        if "\x00" in name or "\x00" in value:
            raise InvalidRequest("the form has a NUL character; remove it", reason="nul")
        if name in parameters and name not in _REPEATABLE:
            raise InvalidRequest(_repeated(name), reason="repeated_parameter")
        parameters[name] = value
    return Form({name: value for name, value in parameters.items() if value})


def _repeated(name: str) -> str:
    """Name the parameter, unless the name is so long that it looks like something else."""
    shown = name if len(name) <= 40 else "a parameter"
    return f"{shown} is repeated; send it once"
