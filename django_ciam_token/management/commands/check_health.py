"""``manage.py check_health``."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any, Final

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from django_ciam_token.checks import check_settings
from django_ciam_token.conf import ciam_settings
from django_ciam_token.management.commands import TokenCommand, add_json_option, count, operator_name
from django_ciam_token.management.instants import duration
from django_ciam_token.monitoring.alerts import (
    WRONG_SETTINGS,
    Alert,
    find_alerts,
    new_alerts,
    raise_alerts,
    recipients,
)

# A little more than the time between two runs: cron is not exact, and nobody is told twice.
_WITHIN: Final = timedelta(minutes=6)
_QUIET_FOR: Final = timedelta(hours=1)
_FAILURES: Final = 100


class Command(TokenCommand):
    """Looks for what somebody should be woken for."""

    # Django would end the command before it could say that a setting is wrong.
    requires_system_checks = []

    help = (
        "Look for what needs attention: no usable signing key, a key older than SIGNING_KEY_MAX_AGE, reused "
        "refresh tokens, many failed client authentications, a database that refuses. Without --mail it "
        "only prints, and the exit status is 1 if there is something. With --mail it also sends the signal "
        "alert_raised and an e-mail. Run it every five minutes, on one host."
    )
    examples = (
        "  manage.py check_health\n"
        "  manage.py check_health --mail                      # for cron, every five minutes\n"
        "  manage.py check_health --mail --within 15m --failures 300 --quiet-for 4h"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the options."""
        parser.add_argument(
            "--mail",
            action="store_true",
            help="Send the signal alert_raised, and an e-mail to ALERT_EMAILS or else to ADMINS.",
        )
        parser.add_argument(
            "--within",
            type=duration,
            default=_WITHIN,
            metavar="TIME",
            help="How far back to look for events: a little more than the time between two runs; by default "
            "6m.",
        )
        parser.add_argument(
            "--failures",
            type=count(1_000_000),
            default=_FAILURES,
            metavar="NUMBER",
            help="How many client authentications may fail in that time; 100 by default.",
        )
        parser.add_argument(
            "--quiet-for",
            type=duration,
            default=_QUIET_FOR,
            metavar="TIME",
            help="After an alert send no other of the same kind for this long; 1h by default.",
        )
        add_json_option(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Look, print, and send what is new."""
        now = timezone.now()
        found = _wrong_settings() or find_alerts(
            now=now,
            within=options["within"],
            failures=options["failures"],
            quiet_for=options["quiet_for"],
        )
        self._print(found, as_json=options["json"])
        if options["mail"]:
            self._send(new_alerts(found, now=now, quiet_for=options["quiet_for"]), now=now)
        elif found:
            raise CommandError(f"{len(found)} of these need attention.")

    def _print(self, found: list[Alert], *, as_json: bool) -> None:
        if as_json:
            self.write_json({"alerts": [asdict(alert) for alert in found]})
            return
        for alert in found:
            self.stdout.write(f"{alert.kind}: {alert.text}")
        if not found:
            self.stdout.write("Nothing needs attention.")
        if not _has_trail():
            self.stderr.write("AUDIT_TRAIL is off, so reuse and failed authentications are not seen.")

    def _send(self, alerts: list[Alert], *, now: datetime) -> None:
        if not recipients():
            raise CommandError("There is nobody to send to: set CIAM_TOKEN['ALERT_EMAILS'] or ADMINS.")
        try:
            raise_alerts(alerts, by_mail=True, actor=operator_name(), now=now)
        except OSError as error:
            raise CommandError(f"The e-mail could not be sent: {type(error).__name__}.") from error


def _wrong_settings() -> list[Alert]:
    wrong = [message for message in check_settings(None) if message.is_serious()]
    return [Alert(WRONG_SETTINGS.kind, WRONG_SETTINGS.text, len(wrong))] if wrong else []


def _has_trail() -> bool:
    try:
        return ciam_settings.AUDIT_TRAIL
    except ImproperlyConfigured:
        return False
