"""What needs attention now, on top of the overview: the signing keys, reuse today, and the audit trail."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.core.exceptions import ImproperlyConfigured
from django.utils.formats import number_format
from django.utils.translation import gettext as _

from django_ciam_token.conf import ciam_settings
from django_ciam_token.keys import binding, key_set, signing_keys
from django_ciam_token.keys.binding import Trust
from django_ciam_token.models import SigningKey, SigningKeyState

# Fewer than this on a day are no sign of anything: one application that retries wrongly makes as many.
_FEW: Final = 5
_TIMES_THE_NORMAL: Final = 3


@dataclass(frozen=True)
class Notice:
    """One line of the banner."""

    text: str
    level: str
    """``alarm``: the service can't do its work, or is being attacked; ``warning``; ``ok``."""


def notices(keys: Iterable[SigningKey], reuse: Sequence[int], now: datetime) -> tuple[Notice, ...]:
    """Return what to show, the gravest first; a single ``ok`` if there is nothing to do.

    Args:
        keys: all signing keys, with their private halves, which say whether they are trusted.
        reuse: how often reuse was detected on each of the last days, today's last; empty if not recorded.
        now: the instant.
    """
    found = [*_of_keys(list(keys), now), *_of_reuse(reuse)]
    if not ciam_settings.AUDIT_TRAIL:
        found.append(Notice(_("The audit trail is off: nothing is recorded."), "warning"))
    if not found:
        return (Notice(_("A usable key is active, reuse is as usual, the audit trail is on."), "ok"),)
    return tuple(sorted(found, key=lambda notice: notice.level != "alarm"))


def _of_keys(keys: list[SigningKey], now: datetime) -> Iterator[Notice]:
    present = [key for key in keys if key.state(now) is not SigningKeyState.REMOVED]
    try:
        trusts = {key: binding.trust(key) for key in present}
    except ImproperlyConfigured:
        yield Notice(_("The settings are wrong. Run: manage.py check"), "alarm")
        return
    trusted = [key for key, trust in trusts.items() if trust is Trust.TRUSTED]
    if key_set.active_key(trusted, now) is None:
        yield Notice(_without_key(present, now), "alarm")
    elif (overdue := signing_keys.overdue_key(trusted, now)) is not None:
        text = _("Key %(kid)s has been signing for longer than SIGNING_KEY_MAX_AGE. Rotate it.")
        yield Notice(text % {"kid": overdue.kid[:12]}, "warning")
    for key in present:
        if trusts[key] is Trust.MISMATCHED:
            text = _("Key %(kid)s does not match its row: find out who writes to the database.")
            yield Notice(text % {"kid": key.kid[:12]}, "alarm")


def _without_key(keys: list[SigningKey], now: datetime) -> str:
    if key_set.active_key(keys, now) is None:
        return _("No key is active: no token can be signed.")
    return _("The active key is not usable with the site's secrets: no token can be signed.")


def _of_reuse(days: Sequence[int]) -> Iterator[Notice]:
    if len(days) < 2:
        return
    today, normal = days[-1], sorted(days[:-1])[(len(days) - 1) // 2]
    if today >= _FEW and today > _TIMES_THE_NORMAL * normal:
        text = _("Reuse of refresh tokens was detected %(today)s times today; normal is %(normal)s.")
        number = {"today": number_format(today, force_grouping=True), "normal": number_format(normal)}
        yield Notice(text % number, "alarm")
