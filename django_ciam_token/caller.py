"""Where a request came from. It is shown to users and operators; no decision depends on it."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final

from django.http import HttpRequest

from django_ciam_token.conf import ciam_settings

_USER_AGENT_LENGTH: Final = 200
# Longer than any address. It limits the size of the wrong ones that are kept in the cache.
_ADDRESS_LENGTH: Final = 64
# The part of an IPv6 address that names the network (RFC 4291 §2.5.4).
_NETWORK_BITS: Final = 64
_INSTANT: Final = re.compile(r"(?:t=)?([0-9]{1,20}(?:\.[0-9]{1,9})?)")
# Seconds, milliseconds, microseconds; by the first of them that gives an instant before the year 5138.
_UNITS: Final = (1, 1e3, 1e6)
_LATEST_INSTANT: Final = 1e11
_LONGEST_QUEUE: Final = 120.0


@dataclass(frozen=True)
class Caller:
    """An address and a user agent that are safe to store."""

    address: str | None = None
    user_agent: str = ""

    @property
    def network(self) -> str:
        """What to count by address is counted under: the IPv4 address, or the /64 of an IPv6 address.

        A single host can use all addresses of its /64. Empty if the address is unknown.
        """
        return "" if self.address is None else _network(self.address)

    @classmethod
    def of(cls, request: HttpRequest) -> Caller:
        """Take both from a request; an invalid address becomes None."""
        address_of = ciam_settings.CLIENT_ADDRESS
        address = request.META.get("REMOTE_ADDR") if address_of is None else address_of(request)
        user_agent = _decoded(request.META.get("HTTP_USER_AGENT", ""))
        if not user_agent.isprintable():
            user_agent = "".join(character for character in user_agent if character.isprintable())
        return cls(
            address=_valid(str(address or "")[:_ADDRESS_LENGTH]), user_agent=user_agent[:_USER_AGENT_LENGTH]
        )


def shown_path(request: HttpRequest) -> str:
    """Return the path of a request, escaped for the log: a line break would start a new log line."""
    return request.path.encode("unicode_escape").decode("ascii")


def queued_for(request: HttpRequest, *, now: datetime) -> timedelta:
    """Return how long a request waited for a worker, by the header that the site's proxy sets.

    ``REQUEST_START_HEADER`` names the header. It holds the instant at which the proxy received the request,
    in seconds, milliseconds or microseconds since 1970, perhaps after ``t=``. The result is zero without the
    setting or if the header makes no sense, and two minutes at most, so that a wrong header can do little.
    """
    name = ciam_settings.REQUEST_START_HEADER
    if name is None:
        return timedelta(0)
    match = _INSTANT.fullmatch(request.headers.get(name, ""))
    if match is None:
        return timedelta(0)
    instants = (float(match[1]) / unit for unit in _UNITS)
    instant = next((instant for instant in instants if instant < _LATEST_INSTANT), now.timestamp())
    return timedelta(seconds=min(_LONGEST_QUEUE, max(0.0, now.timestamp() - instant)))


NOBODY: Final = Caller()
"""The caller of anything that no request caused."""


def _decoded(header: str) -> str:
    """Read a header as UTF-8 if it is that; servers hand it on as if it were ISO-8859-1 (PEP 3333)."""
    if header.isascii():
        return header
    try:
        return header.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return header


@lru_cache(maxsize=1024)
def _valid(address: str) -> str | None:
    try:
        # "%" begins the zone of a link-local address, which databases do not accept.
        valid = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return None
    # A server that listens on IPv6 may see IPv4 callers like this; some databases keep it in hexadecimal.
    return str(getattr(valid, "ipv4_mapped", None) or valid)


def _network(address: str) -> str:
    parsed = ipaddress.ip_address(address)
    if parsed.version == 4:
        return address
    return str(ipaddress.ip_network((parsed, _NETWORK_BITS), strict=False))
