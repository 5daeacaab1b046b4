"""Reading the parameters of a request that a browser brings, strictly."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qsl, unquote

from django.utils.translation import gettext as _

from django_ciam_token.authorization.errors import PageError
from django_ciam_token.concealed import Concealed, Form

LARGEST: Final = 16 * 1024
"""Bytes of a query or form: far more than any server lets through in an address."""
_MOST_FIELDS: Final = 100
_ENCODED: Final = "*"
"""At the end of the name of a field whose value is percent-encoded."""
# And no other character: the browser encodes once more, and all of it must not be too long.
_OF_LINE_BREAKS: Final = str.maketrans({"%": "%25", "\r": "%0D", "\n": "%0A"})


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


def as_fields(parameters: Form, names: Collection[str]) -> list[tuple[str, Concealed]]:
    """Return the hidden fields of a form of ours that carries parameters on.

    Browsers write every line break within a field as CR and LF. So that a value comes back unchanged, one
    with line breaks is percent-encoded.
    """
    return [_as_field(name, value) for name, value in parameters.items() if name in names]


def _as_field(name: str, value: Concealed) -> tuple[str, Concealed]:
    if {"\r", "\n"}.isdisjoint(value.reveal()):
        return name, value
    return f"{name}{_ENCODED}", Concealed(value.reveal().translate(_OF_LINE_BREAKS))


def _decoded(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    return [
        (name.removesuffix(_ENCODED), unquote(value, errors="strict") if name.endswith(_ENCODED) else value)
        for name, value in pairs
    ]


def parse(text: bytes, *, known: Collection[str], button: str | None = None) -> Sent:
    """Return the known parameters of a query or a form; others are ignored (RFC 6749 §3.1).

    Args:
        text: the query or the form.
        known: the names of the parameters that are read.
        button: the field that only forms of ours have; their others are from `as_fields`.

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
        if button is not None and any(name == button for name, _value in pairs):
            pairs = _decoded(pairs)
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
