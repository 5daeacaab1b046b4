"""The forms for new signing keys, and what a rotation does to the keys that are there."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Final

from django import forms
from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_ciam_token.admin import times
from django_ciam_token.admin.base import zone_in_words
from django_ciam_token.conf import SIGNING_ALGORITHMS, ciam_settings
from django_ciam_token.keys.signing_keys import LONGEST_LEAD
from django_ciam_token.models import SigningKey, SigningKeyState

_USUAL_PLAN: Final = timedelta(days=14)


class RotationForm(forms.Form):
    """How the new key is created."""

    algorithm = forms.ChoiceField(
        label=gettext_lazy("Algorithm"), choices=[(name, name) for name in SIGNING_ALGORITHMS]
    )

    def how(self) -> dict[str, Any]:
        """Return the arguments for `signing_keys.rotate`, once the form is valid."""
        return {"algorithm": self.cleaned_data["algorithm"]}


class ImmediateRotationForm(RotationForm):
    """The same, when there is no time to publish the key first."""

    compromised = forms.BooleanField(
        label=gettext_lazy("A private key has leaked"),
        required=False,
        help_text=gettext_lazy(
            "Also removes all older keys from the JWK Set: every token that they signed is refused."
        ),
    )

    def how(self) -> dict[str, Any]:
        """Return the arguments."""
        return {**super().how(), "immediately": True, "compromised": self.cleaned_data["compromised"]}


class PlannedRotationForm(RotationForm):
    """The same, when the change is announced: the key is published now and signs from a chosen time."""

    active_at = forms.DateTimeField(
        label=gettext_lazy("Signs from"),
        widget=forms.DateTimeInput(format="%Y-%m-%dT%H:%M", attrs={"type": "datetime-local"}),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["active_at"].help_text = zone_in_words()
        self.now = timezone.now()
        usual = self.now + max(_USUAL_PLAN, 2 * ciam_settings.SIGNING_KEY_LEAD)
        self.initial.setdefault("active_at", usual.replace(minute=0, second=0, microsecond=0))

    def clean_active_at(self) -> datetime:
        """Return the time, if verifiers can fetch the key before it."""
        at: datetime = self.cleaned_data["active_at"]
        shortest = self.now + ciam_settings.SIGNING_KEY_LEAD
        longest = self.now + LONGEST_LEAD
        if not shortest <= at <= longest:
            text = _("Choose a time between %(first)s and %(last)s")
            dates = {name: times.exact(date) for name, date in (("first", shortest), ("last", longest))}
            raise ValidationError(text % dates)
        return at

    def how(self) -> dict[str, Any]:
        """Return the arguments; from one instant, so that the key signs from exactly the chosen time."""
        return {**super().how(), "now": self.now, "lead": self.cleaned_data["active_at"] - self.now}


def about_planned(keys: Iterable[SigningKey], now: datetime) -> list[str]:
    """Say which keys are about to sign: a rotation may take their place."""
    text = _(
        "Key %(kid)s is planned to sign from %(date)s. If the new key signs earlier, it takes its place, and "
        "the planned one never signs."
    )
    return [
        text % {"kid": key.kid[:12], "date": times.exact(key.active_at)}
        for key in keys
        if key.state(now) is SigningKeyState.PUBLISHED and key.retired_at is None
    ]


def about_unused(keys: Iterable[SigningKey], now: datetime) -> list[str]:
    """Say which keys have never signed, so that nothing is lost with them."""
    text = _("Key %(kid)s has never signed.")
    return [text % {"kid": key.kid[:12]} for key in keys if _never_signed(key, now)]


def about_removal(keys: Iterable[SigningKey], now: datetime) -> list[str]:
    """Say what is removed if a private key has leaked."""
    present = [key for key in keys if key.state(now) is not SigningKeyState.REMOVED]
    text = _("If a private key has leaked, these keys are removed as well: %(kids)s.")
    if not present:
        return []
    return [text % {"kids": ", ".join(key.kid[:12] for key in present)}, *about_unused(present, now)]


def _never_signed(key: SigningKey, now: datetime) -> bool:
    was_replaced_before = key.retired_at is not None and key.retired_at <= key.active_at
    return key.is_provisional or was_replaced_before or key.state(now) is SigningKeyState.PUBLISHED
