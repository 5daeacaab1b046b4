"""Times of a site with ``USE_TZ = False``, whose wall clock shows one hour twice in autumn.

The database keeps such a time without saying which of the two it was. It is read as the earlier: what has
ended never begins again. What is to end later is therefore never stored as a time in the second of the two
hours, but as one after it, up to an hour later. With time zones all of this is plain arithmetic.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta

from django.utils.timezone import get_default_timezone, is_aware, localtime, make_aware


def is_past(stored: datetime, now: datetime) -> bool:
    """Tell whether an instant that was stored has come.

    Args:
        stored: as the database has it.
        now: as `django.utils.timezone.now` has it; its ``fold`` tells the two hours apart.
    """
    return stored <= now if is_aware(stored) else timestamp(stored) <= now.timestamp()


def timestamp(stored: datetime) -> float:
    """Return an instant that was stored as seconds since 1970."""
    # Drivers may set it, depending on the database: it says nothing.
    return stored.timestamp() if is_aware(stored) else stored.replace(fold=0).timestamp()


def after(now: datetime, delay: timedelta) -> datetime:
    """Return the instant at which to let something end or begin: never earlier than after the delay.

    Args:
        now: an instant.
        delay: not negative. If it is zero, ``now`` is returned: what ends at once must not end later.
    """
    if is_aware(now) or not delay:
        return now + delay
    return not_before(datetime.fromtimestamp(now.timestamp() + delay.total_seconds()))  # noqa: DTZ006


def not_before(instant: datetime) -> datetime:
    """Return the first instant that can be stored without being read as an earlier one."""
    if is_aware(instant) or not instant.fold:
        return instant
    repeated = instant.timestamp() - timestamp(instant)
    return instant.replace(fold=0) + timedelta(seconds=repeated)


def local(stored: datetime) -> datetime:
    """Return an instant that was stored in the time zone in which people read it, with its offset."""
    # Without USE_TZ the database has what the clock of the site's zone shows.
    return localtime(stored) if is_aware(stored) else make_aware(stored, get_default_timezone())


def site_day(now: datetime) -> date:
    """Return the day that it is in the site's time zone."""
    return now.astimezone(get_default_timezone()).date() if is_aware(now) else now.date()


def beginning_of(day: date, *, aware: bool) -> datetime:
    """Return the instant at which a day begins in the site's time zone.

    Args:
        day: the day.
        aware: whether the site has ``USE_TZ``.
    """
    midnight = datetime(day.year, day.month, day.day)  # noqa: DTZ001
    return make_aware(midnight, get_default_timezone()) if aware else midnight
