"""Addresses to which an application may have people sent: which may be registered, and which match.

They are compared byte for byte (RFC 9700 §2.1): every rule that is cleverer has been an open redirector.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

LONGEST_URI: Final = 2_000
# Printable ASCII that a URI may contain (RFC 3986 §2) and that no browser changes: no backslash, no wildcard.
_CHARACTERS: Final = re.compile(r"[A-Za-z0-9\-._~:/?\[\]@!$&'()+,;=%]+")
_HOST: Final = re.compile(r"[a-z0-9]+(?:[.-]+[a-z0-9]+)*|\[[0-9a-f:.]+\]")
# RFC 8252 §7.1: a domain name of the application's makers in reverse, so that no two have the same.
_PRIVATE_USE_SCHEME: Final = re.compile(r"[a-z][a-z0-9+-]*(?:\.[a-z0-9+-]+)+")
# RFC 8252 §7.3 and §8.3; localhost may be another machine, so only its exact port is accepted.
_LOOPBACK_HOSTS: Final = frozenset({"127.0.0.1", "[::1]", "localhost"})
_LOOPBACK: Final = re.compile(r"(http://(?:127\.0\.0\.1|\[::1\]))(?::[0-9]{1,5})?(?=[/?]|\Z)")

# What a page checks while one types: all that may be registered passes, and common mistakes are caught.
_WEB_PATTERN: Final = r"https://[^\s*#\\]+|http://(127\.0\.0\.1|\[::1\]|localhost)([:/?][^\s*#\\]*)?"
_PRIVATE_USE_PATTERN: Final = r"(?!https?:)[a-z][a-z0-9+\-]*(\.[a-z0-9+\-]+)+:[^\s*#\\]+"
PATTERNS: Final = {
    "web": _WEB_PATTERN,
    "spa": _WEB_PATTERN,
    "mobile": f"{_WEB_PATTERN}|{_PRIVATE_USE_PATTERN}",
    "m2m": "(?!)",
}
"""For each type of application a regular expression, the same in Python and JavaScript."""


def validate_uris(value: str) -> None:
    """Accept only addresses that some type of application may have.

    Raises:
        ValidationError: with a message for each address that none may have.
    """
    if errors := [_error(uri, None) for uri in value.split() if _problem(uri, None) is not None]:
        raise ValidationError(errors)


def check_redirect_uri(uri: str, *, application_type: str | None = None) -> None:
    """Refuse an address that must not be registered.

    Args:
        uri: the address.
        application_type: whose it is; None for any.

    Raises:
        ValidationError: it says what is wrong and what to write instead.
    """
    if _problem(uri, application_type) is not None:
        raise _error(uri, application_type)


def problems_of_type(value: str, *, application_type: str) -> list[ValidationError]:
    """Return what is wrong with addresses that another type of application could have: one error for each.

    What no type may have is the business of `validate_uris`, so that nothing is said twice.
    """
    uris = [uri for uri in value.split() if _problem(uri, None) is None]
    wrong = [uri for uri in uris if _problem(uri, application_type) is not None]
    # A machine has no use for any of them; one sentence says it.
    return [_error(uri, application_type) for uri in (wrong[:1] if application_type == "m2m" else wrong)]


def _error(uri: str, application_type: str | None) -> ValidationError:
    return ValidationError(_problem(uri, application_type) or "", params={"uri": uri[:LONGEST_URI]})


def _problem(uri: str, application_type: str | None) -> str | None:
    if len(uri) > LONGEST_URI or not _CHARACTERS.fullmatch(uri):
        return _("%(uri)s can't be registered: it has a character such as * or #, or is too long.")
    if application_type == "m2m":
        return _("A machine-to-machine application signs nobody in: it has no addresses to send people to.")
    scheme = uri.partition(":")[0]
    if scheme in ("https", "http"):
        return _problem_of_web_address(uri)
    if not _PRIVATE_USE_SCHEME.fullmatch(scheme) or uri.startswith(f"{scheme}:?") or uri == f"{scheme}:":
        return _("%(uri)s must begin with https://, or for a mobile application with com.example.app:/")
    if application_type not in (None, "mobile"):
        return _("%(uri)s is for mobile applications only. Use an address that begins with https://")
    return None


def _problem_of_web_address(uri: str) -> str | None:
    try:
        parts = urlsplit(uri)
        host = parts.netloc.removesuffix(f":{parts.port}")
    except ValueError:
        return _("%(uri)s is not an address. Write it like this: https://app.example.com/callback")
    if "@" in parts.netloc or not _HOST.fullmatch(host):
        return _("%(uri)s is not an address. Write it like this: https://app.example.com/callback")
    if parts.scheme == "http" and host not in _LOOPBACK_HOSTS:
        return _("%(uri)s must begin with https://; http:// is only for 127.0.0.1, [::1] and localhost.")
    return None


def matches(registered: str, presented: str) -> bool:
    """Tell whether a presented address is the registered one.

    Byte for byte, but for the port of a loopback address: an application draws it (RFC 8252 §7.3).
    """
    if registered == presented:
        return True
    ours, theirs = _LOOPBACK.match(registered), _LOOPBACK.match(presented)
    if ours is None or theirs is None:
        return False
    return ours[1] == theirs[1] and registered[ours.end() :] == presented[theirs.end() :]
