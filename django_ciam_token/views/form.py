"""Reading the form of a token request, strictly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import IO, Any, Final
from urllib.parse import parse_qsl

from django.http import HttpRequest
from rest_framework.parsers import BaseParser

from django_ciam_token.concealed import Form
from django_ciam_token.errors import InvalidRequest, UnsupportedContent
from django_ciam_token.views.body import discard_body, empty, length_of_body, read_body

__all__ = ["SEND_A_FORM", "Form", "StrictFormParser", "parse_form", "read_form"]

SEND_A_FORM: Final = (
    "send a form: Content-Type application/x-www-form-urlencoded "
    "(in tests: django_ciam_token.testing.post_form)"
)
_MOST_FIELDS: Final = 100
# The two parameters that later RFCs allow a client to repeat (RFC 8707 §2, RFC 8693 §2.1). They are unused.
_REPEATABLE: Final = frozenset({"resource", "audience"})
_UTF_8: Final = frozenset({"utf-8", "utf8"})
# Labels that some HTTP libraries put on every form. ASCII text is the same in them as in UTF-8.
_LIKE_ASCII: Final = frozenset(
    {"us-ascii", "ascii", "iso-8859-1", "iso8859-1", "latin1", "iso-8859-15", "windows-1252", "cp1252"}
)


class StrictFormParser(BaseParser):
    """Makes ``request.data`` the form that `read_form` returns."""

    media_type = "application/x-www-form-urlencoded"

    def parse(  # type: ignore[override]  # DRF takes anything for the data.
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Form:
        """Return the form of the request."""
        return read_form((parser_context or {})["request"]._request)


def read_form(request: HttpRequest) -> Form:
    """Return the parameters of a form that have a value; an empty form if there is no body.

    The form is kept with the request. From then on ``body`` and ``POST`` are empty: error trackers send them.

    Raises:
        LengthRequired: it was sent in chunks, and the server does not say where it ends.
        UnsupportedContent: the content is not a form, is not in UTF-8, or is compressed.
        ContentTooLarge: the body is longer than `body.LARGEST_BODY`.
        InvalidRequest: the form is shorter than its Content-Length, is not valid UTF-8, contains a NUL, or
            repeats a parameter.
    """
    form: Form | None = getattr(request, "ciam_form", None)
    if form is None:
        try:
            form = _read(request)
        except Exception:
            discard_body(request)
            raise
        finally:
            empty(request)
        request.ciam_form = form  # type: ignore[attr-defined]
    return form


def forget_body(request: HttpRequest) -> None:
    """Take the body out of a request whose form nobody has read: it was refused before."""
    if not hasattr(request, "ciam_form"):
        discard_body(request)
        empty(request)


def _read(request: HttpRequest) -> Form:
    length = length_of_body(request)
    if length == 0 or (length is None and not request.content_type):
        return Form()
    if request.content_type != StrictFormParser.media_type:
        raise UnsupportedContent(SEND_A_FORM, reason="not_a_form")
    charset = (request.content_params or {}).get("charset", "utf-8").lower()
    if charset not in _UTF_8 and charset not in _LIKE_ASCII:
        raise _wrong_charset()
    if request.META.get("HTTP_CONTENT_ENCODING", "identity").lower() != "identity":
        raise UnsupportedContent("do not compress the form", reason="compressed_body")
    form = parse_form(read_body(request, length))
    if charset not in _UTF_8 and not all(name.isascii() and form[name].isascii() for name in form):
        raise _wrong_charset()
    return form


def _wrong_charset() -> UnsupportedContent:
    return UnsupportedContent("encode the form as UTF-8", reason="wrong_charset")


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
