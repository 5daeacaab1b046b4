"""What somebody should be woken for: found by a command that a scheduler runs, not by the requests.

So nothing delays an answer, what is found was committed, and a flood makes one message and not thousands.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.mail import EmailMessage
from django.db import Error
from django.db.models import Count

from django_ciam_token import signals
from django_ciam_token.conf import ciam_settings, site_values
from django_ciam_token.database.retry import mend
from django_ciam_token.database.routing import write_database
from django_ciam_token.keys import binding, signing_keys
from django_ciam_token.keys.binding import Trust
from django_ciam_token.keys.key_set import active_key
from django_ciam_token.models import EventType, SecurityEvent, SigningKey
from django_ciam_token.monitoring.audit_trail import event_of, record

logger = logging.getLogger("django_ciam_token")

_MOST_CLIENTS: Final = 10


@dataclass(frozen=True)
class Alert:
    """One thing that is wrong, without anything secret."""

    kind: str
    """``database_unavailable``, ``wrong_settings``, ``no_usable_key``, ``key_past_its_age``,
    ``reuse_detected`` or ``authentication_failures``."""
    text: str
    """For a person, in English."""
    count: int = 1
    """How often it happened."""
    client_ids: tuple[str, ...] = ()
    """The clients concerned, the most concerned first, at most ten; empty for one that does not exist."""


WRONG_SETTINGS: Final = Alert("wrong_settings", "The settings are wrong. Run: manage.py check")


def find_alerts(*, now: datetime, within: timedelta, failures: int, quiet_for: timedelta) -> list[Alert]:
    """Return what is wrong now.

    Args:
        now: the present.
        within: how far back events are looked for.
        failures: more failed client authentications than this, in that time, are an alert.
        quiet_for: after an alert there is no other for so long. What happened meanwhile is told in the next.
    """
    using = write_database(SigningKey)
    try:
        reuse_since = _last_alert("reuse_detected", since=now - quiet_for - within) or now - within
        return [
            *_of_keys(now, using=using),
            *_of_reuse(reuse_since),
            *_of_failures(now - within, failures=failures),
        ]
    except Error as error:
        mend(using, error)
        text = f"The database refuses: {type(error).__name__}. Tokens can't be issued."
        return [Alert("database_unavailable", text)]


def new_alerts(alerts: Sequence[Alert], *, now: datetime, quiet_for: timedelta) -> list[Alert]:
    """Return those of a kind about which nobody was told recently; all if the audit trail can't say."""
    using = write_database(SecurityEvent)
    told = SecurityEvent.objects.using(using).filter(event=EventType.ALERTED, at__gt=now - quiet_for)
    try:
        known = set(told.values_list("reason", flat=True))
    except Error as error:
        mend(using, error)
        return list(alerts)
    return [alert for alert in alerts if alert.kind not in known]


def raise_alerts(alerts: Sequence[Alert], *, by_mail: bool, actor: str, now: datetime) -> None:
    """Signal alerts, send them in one e-mail, and note in the audit trail that it was done.

    Args:
        alerts: what is wrong.
        by_mail: whether to send the e-mail, to ``ALERT_EMAILS``.
        actor: the account that looked.
        now: when it looked. The next search begins there: what happens while an e-mail is sent is not lost.

    Raises:
        OSError: the e-mail could not be sent; the next run tries again. What `smtplib` raises is one too.
    """
    for alert in alerts:
        logger.error("%s", alert.text, extra={"event": "alert", "reason": alert.kind})
        arguments = {"kind": alert.kind, "text": alert.text, "count": alert.count}
        signals.alert_raised.send_robust(sender=Alert, client_ids=alert.client_ids, **arguments)
    if alerts and by_mail:
        _mail(alerts)
    try:
        events = [event_of(EventType.ALERTED, reason=alert.kind, actor=actor) for alert in alerts]
        for event in events:
            event.at = now
        record(*events)
    except (Error, ImproperlyConfigured) as error:
        # They are raised again in the next run: better twice than never.
        mend(write_database(SecurityEvent), error)
        logger.warning(
            "An alert could not be noted: %s", type(error).__name__, extra={"event": "alert_not_noted"}
        )


def recipients() -> list[str]:
    """Return to whom alerts are sent: ``ALERT_EMAILS``, or Django's ``ADMINS``."""
    try:
        chosen = ciam_settings.ALERT_EMAILS
    except ImproperlyConfigured:
        chosen = None
    if chosen is not None:
        return list(chosen)
    # Pairs of a name and an address; from Django 6.0 on, addresses.
    return [admin if isinstance(admin, str) else admin[1] for admin in settings.ADMINS]


def _of_keys(now: datetime, *, using: str) -> Iterator[Alert]:
    keys = list(SigningKey.objects.using(using))
    trusted = [key for key in keys if binding.trust(key) is Trust.TRUSTED]
    if active_key(trusted, now) is None:
        why = "none is active" if active_key(keys, now) is None else "the active one is not usable"
        yield Alert("no_usable_key", f"No token can be signed: of the signing keys {why}.")
    elif (old := signing_keys.overdue_key(trusted, now)) is not None:
        text = f"Signing key {old.kid} has been signing for {(now - old.active_at).days} days. Rotate it."
        yield Alert("key_past_its_age", text)


def _last_alert(kind: str, *, since: datetime) -> datetime | None:
    """Return when this was last reported, if that was after an instant."""
    events = SecurityEvent.objects.using(write_database(SecurityEvent))
    told = events.filter(event=EventType.ALERTED, reason=kind, at__gt=since)
    return max(told.values_list("at", flat=True), default=None)


def _of_reuse(since: datetime) -> Iterator[Alert]:
    reuse, clients = _count(EventType.REUSE_DETECTED, since)
    if reuse:
        text = f"Reuse of a refresh token was detected {reuse} times: {_named(clients)}."
        yield Alert("reuse_detected", text, reuse, tuple(clients))


def _of_failures(since: datetime, *, failures: int) -> Iterator[Alert]:
    failed, clients = _count(EventType.CLIENT_AUTHENTICATION_FAILED, since)
    if failed > failures:
        # The trail leaves some out of a flood.
        text = f"Client authentication failed at least {failed} times: {_named(clients)}."
        yield Alert("authentication_failures", text, failed, tuple(clients))


def _count(event: EventType, since: datetime) -> tuple[int, dict[str, int]]:
    """Return how often something happened, and how often to the clients that it happened to most."""
    events = SecurityEvent.objects.using(write_database(SecurityEvent)).filter(event=event, at__gt=since)
    by_client = events.order_by().values_list("client_id").annotate(number=Count("pk"))
    found = sorted(by_client, key=lambda row: (-row[1], row[0]))
    return sum(number for _client_id, number in found), dict(found[:_MOST_CLIENTS])


def _named(clients: dict[str, int]) -> str:
    return ", ".join(f"{client_id or 'unknown clients'} ({number})" for client_id, number in clients.items())


def _mail(alerts: Sequence[Alert]) -> None:
    issuer = site_values().get("ISSUER")
    subject = f"{settings.EMAIL_SUBJECT_PREFIX}Token service: {', '.join(alert.kind for alert in alerts)}"
    lines = [alert.text for alert in alerts]
    body = "\n\n".join([*lines, f"The token service of {issuer}, by: manage.py check_health --mail"])
    EmailMessage(subject, body, settings.SERVER_EMAIL, recipients()).send()
