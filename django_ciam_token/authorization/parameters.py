"""Reading the parameters of a request that a browser brings, strictly."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qsl

from django.utils.translation import gettext as _

from django_ciam_token.authorization.errors import PageError
from django_ciam_token.concealed import Form

LARGEST: Final = 16 * 1024
"""Bytes of a query or form: far more than any server lets through in an address."""
_MOST_FIELDS: Final = 100


@dataclass(frozen=True)
class Sent:
    """What a request was sent with."""

    values: Form
    """The known parameters that have a value; of one that was repeated, the last value."""
    repeated: frozenset[str]
    """The known parameters that were sent more than once, with a value or without."""

    def once(self, name: str) -> str | None:
        """Return a parameter if it was sent exactly once and has a value (RFC 6749 §3.1)."""
        return None if name in self.repeated else self.values.get(name)


def parse(text: bytes, *, known: Collection[str]) -> Sent:
    """Return the known parameters of a query or a form; others are ignored (RFC 6749 §3.1).

    Raises:
        PageError: it is too long, is not UTF-8 or contains a NUL.
    """
    if len(text) > LARGEST:
        raise unreadable("too_long", status=HTTPStatus.REQUEST_URI_TOO_LONG)
    try:
        pairs = parse_qsl(
            text.decode("utf-8"),
            keep_blank_values=True,
            encoding="utf-8",
            errors="strict",
            max_num_fields=_MOST_FIELDS,
        )
    except ValueError:  # Also a UnicodeDecodeError.
        raise unreadable("not_a_form") from None
    if any("\x00" in name or "\x00" in value for name, value in pairs):
        raise unreadable("nul")
    sent = [(name, value) for name, value in pairs if name in known]
    counts = Counter(name for name, _value in sent)
    return Sent(
        values=Form({name: value for name, value in sent if value}),
        repeated=frozenset(name for name, count in counts.items() if count > 1),
    )


def unreadable(reason: str, *, status: HTTPStatus = HTTPStatus.BAD_REQUEST) -> PageError:
    """Return the error of a request that no application sends."""
    return PageError(_("The request could not be read."), reason=reason, status=status)
