"""The identifiers of sessions."""

from __future__ import annotations

import secrets
import time
import uuid
from datetime import datetime


def uuid7() -> uuid.UUID:
    """Return a UUID that begins with the time in milliseconds (RFC 9562 §5.7).

    New sessions go next to each other at the end of the primary key's B-tree, not all over it, and a
    walk in key order finds the oldest sessions first. The identifier is not a secret: knowing it grants
    nothing.
    """
    milliseconds = time.time_ns() // 1_000_000
    value = (milliseconds & 0xFFFF_FFFF_FFFF) << 80 | secrets.randbits(80)
    value = value & ~(0xF << 76) | 0x7 << 76  # version 7
    value = value & ~(0x3 << 62) | 0x2 << 62  # variant 10
    return uuid.UUID(int=value)


def lowest_uuid7(at: datetime) -> uuid.UUID:
    """Return the lower bound of the UUIDs made from an instant on: a key range is a time range."""
    return lowest_of_millisecond(max(0, int(at.timestamp() * 1_000)))


def lowest_of_millisecond(number: int) -> uuid.UUID:
    """Return the lower bound of the UUIDs made from a millisecond on, counted from 1970."""
    return uuid.UUID(int=(number & 0xFFFF_FFFF_FFFF) << 80)


def millisecond(key: uuid.UUID) -> int:
    """Return when `uuid7` made a UUID, in milliseconds since 1970."""
    return key.int >> 80
