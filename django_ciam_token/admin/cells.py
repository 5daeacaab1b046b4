"""Cells of the lists: short texts, with the whole in a tooltip. Narrow columns keep a list on one screen."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any, Final

from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _

from django_ciam_token.admin import times, user_agents
from django_ciam_token.models import RefreshToken, RevocationReason, SessionState
from django_ciam_token.sessions.state import StateNow

# Beyond it the number of days says less than the date.
_MOST_DAYS: Final = 60
_EMPTY: Final = "-"


def ago(instant: datetime | None, now: datetime | None = None) -> str:
    """Return "2 min ago" or "in 3 h", with the exact time in a tooltip.

    Args:
        instant: None gives a hyphen.
        now: by default the present.
    """
    if instant is None:
        return _EMPTY
    now = now or timezone.now()
    return format_html(
        '<time class="ciam-ago" datetime="{}" title="{}">{}</time>',
        times.iso(instant),
        times.exact(instant),
        _distance(instant, now),
    )


def clipped(text: Any) -> str:
    """Return an identifier of which the page shows the beginning; its tooltip is the whole."""
    if not text:
        return _EMPTY
    return format_html('<code class="ciam-clipped" title="{}">{}</code>', text, text)


def narrow(text: str | None) -> str:
    """Return a text that is broken into lines if need be: between the words of a code, else anywhere."""
    if not text:
        return _EMPTY
    parts = ((part,) for part in re.split(r"(?<=[_@:-])", text))
    lines = format_html_join(mark_safe("<wbr>"), "{}", parts)
    return format_html('<span class="ciam-narrow">{}</span>', lines)


def place(address: str | None, user_agent: str) -> str:
    """Return the device and the address of a request, each on a line of its own."""
    if not address and not user_agent:
        return _EMPTY
    return format_html("{} {}", device(user_agent), narrow(address) if address else "")


def device(user_agent: str) -> SafeString:
    """Return the device of a request, on a line of its own."""
    return format_html(
        '<span class="ciam-device" title="{}">{}</span>', user_agent, user_agents.describe(user_agent)
    )


def state(session: RefreshToken, now: StateNow) -> SafeString:
    """Return the state of a session in a word or two: why it ended or is blocked, if it did or is."""
    whole = short = str(now.state.label)
    if now.obstacle is not None:
        short = str(now.obstacle.label)
        whole = f"{whole}: {short}"
    if now.state is SessionState.REVOKED:
        whole = f"{whole}: {session.get_revoked_reason_display()}"
        short = _why_revoked(session.revoked_reason) or short
    return format_html(
        '<span class="ciam-state ciam-state-{}" title="{}">{}</span>', now.state.value, whole, short
    )


def _why_revoked(reason: str) -> str:
    return {
        RevocationReason.REUSE.value: _("reuse"),
        RevocationReason.CLIENT.value: _("ended by app"),
        RevocationReason.OPERATOR.value: _("ended by operator"),
        RevocationReason.USER.value: _("ended by user"),
        RevocationReason.CONSENT.value: _("consent withdrawn"),
    }.get(reason, "")


def _distance(instant: datetime, now: datetime) -> str:
    distance = abs(now - instant)
    if distance >= timedelta(days=_MOST_DAYS):
        return date_format(_local(instant), "Y-m-d")
    for unit, (past, future) in {
        timedelta(days=1): (_("%(number)d d ago"), _("in %(number)d d")),
        timedelta(hours=1): (_("%(number)d h ago"), _("in %(number)d h")),
        timedelta(minutes=1): (_("%(number)d min ago"), _("in %(number)d min")),
        timedelta(seconds=1): (_("%(number)d s ago"), _("in %(number)d s")),
    }.items():
        if distance >= unit:
            return (past if instant <= now else future) % {"number": distance // unit}
    return _("now")


def _local(instant: datetime) -> datetime:
    return timezone.localtime(instant) if timezone.is_aware(instant) else instant
