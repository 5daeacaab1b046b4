"""The figures on the overview page of the token service. They take few queries, however large the tables."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.utils.formats import number_format
from django.utils.timezone import get_default_timezone_name
from django.utils.translation import gettext as _

from django_ciam_token.admin.banner import Notice, notices
from django_ciam_token.admin.charts import Chart, chart
from django_ciam_token.admin.key_timeline import next_event
from django_ciam_token.conf import ciam_settings
from django_ciam_token.database.local_time import site_day
from django_ciam_token.models import Client, EventType, SigningKey, SigningKeyState
from django_ciam_token.monitoring.figures import (
    events_by_day,
    refreshes_by_day,
    session_figures,
    waiting_for_purge,
)

DAYS: Final = 14
_MOST_CLIENTS: Final = 10
_CHARTED: Final = (EventType.REUSE_DETECTED, EventType.CLIENT_AUTHENTICATION_FAILED)


@dataclass(frozen=True)
class ClientFigure:
    """The live sessions of a client."""

    pk: int
    name: str
    live: str
    percent: float
    """Compared with the client that has the most."""


@dataclass(frozen=True)
class KeyEvent:
    """The next state change of a signing key."""

    kid: str
    state: str
    at: datetime


@dataclass(frozen=True)
class Overview:
    """Everything that the page shows."""

    notices: tuple[Notice, ...]
    """What needs attention."""
    live: str
    clients: tuple[ClientFigure, ...]
    is_estimate: bool
    charts: tuple[Chart, ...]
    """Empty without the audit trail."""
    has_audit_trail: bool
    key_event: KeyEvent | None
    waiting: str
    """Sessions that ``purge_tokens`` would remove."""
    has_waiting: bool
    zone: str
    """The time zone whose days the charts show."""


def overview(now: datetime) -> Overview:
    """Collect the figures."""
    figures = session_figures(now=now)
    most = sorted(figures.live.items(), key=lambda item: (-item[1], item[0]))[:_MOST_CLIENTS]
    names = dict(Client.objects.filter(pk__in=[pk for pk, _live in most]).values_list("pk", "name"))
    highest = most[0][1] if most else 1
    keys = list(SigningKey.objects.all())
    waiting, has_more = waiting_for_purge(now=now)
    events = events_by_day(_CHARTED, days=DAYS, now=now) if ciam_settings.AUDIT_TRAIL else {}
    return Overview(
        notices=notices(keys, events.get(EventType.REUSE_DETECTED, ()), now),
        live=_written(figures.live_total, is_estimate=figures.is_estimate),
        clients=tuple(
            ClientFigure(
                pk=pk,
                name=names.get(pk, "?"),
                live=_written(live, is_estimate=figures.is_estimate),
                percent=round(100 * live / highest, 1),
            )
            for pk, live in most
        ),
        is_estimate=figures.is_estimate,
        charts=_charts(events, now) if ciam_settings.AUDIT_TRAIL else (),
        has_audit_trail=ciam_settings.AUDIT_TRAIL,
        key_event=_key_event(keys, now),
        waiting=_waiting(waiting, has_more=has_more),
        has_waiting=waiting > 0,
        zone=get_default_timezone_name(),
    )


def _charts(events: dict[EventType, list[int]], now: datetime) -> tuple[Chart, ...]:
    reuse, failed = _CHARTED
    today = site_day(now)
    return (
        chart(_("Refreshes"), refreshes_by_day(days=DAYS, now=now), last_day=today),
        chart(_("Reuse detected"), events[reuse], last_day=today, is_bad=True),
        chart(_("Failed client authentications"), events[failed], last_day=today, is_bad=True),
    )


def _key_event(keys: list[SigningKey], now: datetime) -> KeyEvent | None:
    found = next_event(keys, now)
    if found is None:
        return None
    key, state, at = found
    return KeyEvent(kid=key.kid, state=str(SigningKeyState(state).label), at=at)


def _waiting(number: int, *, has_more: bool) -> str:
    if has_more and not number:
        return _("none of the oldest")
    text = number_format(number, force_grouping=True)
    return _("at least %(number)s") % {"number": text} if has_more else text


def _written(number: int, *, is_estimate: bool) -> str:
    if is_estimate and not number:
        return _("few")
    text = number_format(number, force_grouping=True)
    return _("about %(number)s") % {"number": text} if is_estimate else text
