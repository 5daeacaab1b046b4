"""What the fields of a client may contain; each validator says how to write it right."""

from __future__ import annotations

import re
from datetime import timedelta

from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.utils.translation import gettext_lazy as _

from django_ciam_token import scopes
from django_ciam_token.conf import ciam_settings
from django_ciam_token.errors import InvalidScope

# Only characters that form-encoding does not change. Some libraries encode the client_id for Basic and
# some forget to: with these characters both send the same.
validate_client_id = RegexValidator(
    r"\A[A-Za-z0-9._~-]+\Z",
    _("Use only letters, digits and the characters . _ ~ -"),
)

_ORIGIN = re.compile(r"https?://(?:[a-z0-9]+(?:[.-]+[a-z0-9]+)*|\[[0-9a-f:.]+\])(?::[1-9][0-9]{0,4})?")
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


def validate_scope(value: str) -> None:
    """Accept only scopes that the setting ``SCOPES`` names."""
    try:
        unknown = [name for name in scopes.parse(value) if name not in ciam_settings.SCOPES]
    except InvalidScope:
        raise ValidationError(_("Enter scope names separated by single spaces.")) from None
    if unknown:
        raise ValidationError(
            _("Unknown scope %(unknown)s. This site defines: %(known)s."),
            params={"unknown": ", ".join(unknown), "known": ", ".join(ciam_settings.SCOPES)},
        )


def validate_origins(value: str) -> None:
    """Accept only origins in the form that browsers send (RFC 6454 §6.2): others would never match.

    Raises:
        ValidationError: with a message for each that is wrong.
    """
    errors = [
        ValidationError(
            _("%(origin)s is not an origin. Write it like this: https://app.example.com"),
            params={"origin": origin},
        )
        for origin in value.split()
        if not _ORIGIN.fullmatch(origin) or origin.endswith(_DEFAULT_PORTS[origin.partition(":")[0]])
    ]
    if errors:
        raise ValidationError(errors)


def validate_lifetime(value: timedelta) -> None:
    """Accept only finite lifetimes of at least a second: JWTs count whole seconds."""
    if not timedelta(seconds=1) <= value <= timedelta(days=3660):
        raise ValidationError(_("A lifetime must be between one second and ten years."))


def validate_grace_period(value: timedelta) -> None:
    """Accept zero as well: strict one-time use."""
    if value:
        validate_lifetime(value)
