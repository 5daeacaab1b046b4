"""Instants as an operator compares them: to the second, with the zone, the same in every language."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.contrib import admin
from django.db.models import Model
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString

from django_ciam_token.database.local_time import local


def exact(instant: datetime | None) -> str:
    """Return an instant in the current time zone, like ``2026-11-26 20:59:03 +01:00``; None as "-"."""
    if instant is None:
        return "-"
    aware = local(instant)
    return f"{date_format(aware, 'Y-m-d H:i:s')} {_zone(aware)}"


def element(instant: datetime | None) -> str | SafeString:
    """Return the same for a page, which programs can read as well."""
    if instant is None:
        return "-"
    return format_html('<time class="ciam-time" datetime="{}">{}</time>', iso(instant), exact(instant))


def iso(instant: datetime) -> str:
    """Return an instant for programs."""
    return local(instant).isoformat(timespec="seconds")


def _zone(aware: datetime) -> str:
    """Return the offset: abbreviations such as CST stand for several zones."""
    return "UTC" if aware.tzname() == "UTC" else aware.isoformat()[-6:]


def for_input(instant: datetime | None) -> str:
    """Return what a browser's field for a time has, in the current time zone; empty for None."""
    return "" if instant is None else local(instant).strftime("%Y-%m-%dT%H:%M:%S")


def zone() -> str:
    """Return the name of the current time zone."""
    return timezone.get_current_timezone_name()


def field(model: type[Model], name: str) -> Callable[[Any], str]:
    """Return a read-only field of an admin page that shows a column of the model."""

    def exact_time(row: Any) -> str:
        return element(getattr(row, name))

    exact_time.__name__ = name
    column: Any = model._meta.get_field(name)
    return admin.display(exact_time, description=column.verbose_name)


def fields(model: type[Model], *names: str) -> Any:
    """Return a read-only field for each of these columns; see `field`."""
    return tuple(field(model, name) for name in names)
