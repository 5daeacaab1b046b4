"""Instants as an operator compares them: to the second, with the zone, the same in every language."""

from __future__ import annotations

from datetime import datetime

from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString


def exact(instant: datetime | None) -> str:
    """Return an instant in the current time zone, like ``2026-11-26 20:59:03 +01:00``; None as "-"."""
    if instant is None:
        return "-"
    # Without USE_TZ the database has what the clock of the site's zone shows.
    aware = _aware(instant)
    return f"{date_format(aware, 'Y-m-d H:i:s')} {_zone(aware)}"


def element(instant: datetime | None) -> str | SafeString:
    """Return the same for a page, which programs can read as well."""
    if instant is None:
        return "-"
    iso = _aware(instant).isoformat(timespec="seconds")
    return format_html('<time class="ciam-time" datetime="{}">{}</time>', iso, exact(instant))


def _aware(instant: datetime) -> datetime:
    if timezone.is_aware(instant):
        return timezone.localtime(instant)
    return timezone.make_aware(instant, timezone.get_default_timezone())


def _zone(aware: datetime) -> str:
    """Return the offset: abbreviations such as CST stand for several zones."""
    return "UTC" if aware.tzname() == "UTC" else aware.isoformat()[-6:]
