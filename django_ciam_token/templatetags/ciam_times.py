"""How the admin pages show an instant."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django import template

register = template.Library()


@register.filter
def ciam_time(instant: Any) -> str:
    """Show an instant to the second, with its zone."""
    # Django imports the tags of every app for any template, also where Django's admin is not installed.
    from django_ciam_token.admin.times import element

    return element(instant) if isinstance(instant, datetime) else ""


@register.filter
def ciam_exact(instant: Any) -> str:
    """Show the same as a text, for attributes and sentences."""
    from django_ciam_token.admin.times import exact

    return exact(instant) if isinstance(instant, datetime) else "-"
