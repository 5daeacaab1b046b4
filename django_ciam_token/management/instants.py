"""Instants as people write and read them: in the site's time zone, with its offset from UTC."""

from __future__ import annotations

import argparse
import re
from datetime import datetime, time, timedelta
from datetime import timezone as datetime_timezone
from typing import Final

from django.conf import settings
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
# What every database can store, in every time zone.
_EARLIEST: Final = datetime(1970, 1, 2, tzinfo=datetime_timezone.utc)
_LATEST: Final = datetime(9000, 1, 1, tzinfo=datetime_timezone.utc)


def duration(text: str) -> timedelta:
    """Read a duration such as 90s, 15m, 12h, 7d, 2w or 0.

    Raises:
        argparse.ArgumentTypeError: it is not one.
    """
    match = re.fullmatch(r"([0-9]{1,5})([smhdw]?)", text)
    if match is None or (not match[2] and int(match[1])):
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration; write 90s, 15m, 12h, 7d, 2w or 0")
    return timedelta(**{_UNITS[match[2] or "s"]: int(match[1])})


def instant(text: str) -> datetime:
    """Read an instant: a date, a date with time, or how long ago; without an offset, in the site's time zone.

    Returns:
        Aware if ``USE_TZ`` is on, else naive, as the database has it.

    Raises:
        argparse.ArgumentTypeError: it is none of these, or further away than databases can compare with.
    """
    try:
        day = parse_date(text)
        at = parse_datetime(text) if day is None else datetime.combine(day, time.min)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {error}") from None
    try:
        at = _ago(text) if at is None else _in_form(at)
        if _EARLIEST <= at.astimezone(datetime_timezone.utc) <= _LATEST:
            return at
    except (OverflowError, ValueError):
        pass
    raise argparse.ArgumentTypeError(f"{text!r} is too far away; write a time between 1970 and 9000")


def written(at: datetime) -> str:
    """Write an instant to the second, such as 2026-03-01 12:00:00+01:00; `instant` reads it again."""
    return _local(at).isoformat(sep=" ", timespec="seconds")


def iso(at: datetime | None) -> str | None:
    """Write an instant for a script (RFC 3339), with its offset from UTC; None stays None."""
    return None if at is None else (at if timezone.is_aware(at) else _local(at)).isoformat()


def _local(at: datetime) -> datetime:
    # Django lets the process have the site's zone, which a naive time is in.
    return timezone.localtime(at) if timezone.is_aware(at) else at.astimezone()


def _in_form(at: datetime) -> datetime:
    if settings.USE_TZ:
        return at if timezone.is_aware(at) else timezone.make_aware(at)
    return timezone.make_naive(at) if timezone.is_aware(at) else at


def _ago(text: str) -> datetime:
    try:
        return timezone.now() - duration(text)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a time; write 2026-03-01, 2026-03-01T12:00+01:00, or 7d for seven days ago"
        ) from None
