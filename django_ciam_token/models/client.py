"""Clients: the applications that may get tokens, and their secrets."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Max
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from django_ciam_token import scopes
from django_ciam_token.conf import ciam_settings
from django_ciam_token.database.routing import write_database
from django_ciam_token.errors import InvalidScope

if TYPE_CHECKING:
    _CharField = models.CharField[str, str]
else:
    _CharField = models.CharField

# Only characters that form-encoding does not change. Some libraries encode the client_id for Basic and
# some forget to: with these characters both send the same.
validate_client_id = RegexValidator(
    r"\A[A-Za-z0-9._~-]+\Z",
    _("Use only letters, digits and the characters . _ ~ -"),
)


_ORIGIN = re.compile(r"https?://(?:[a-z0-9]+(?:[.-]+[a-z0-9]+)*|\[[0-9a-f:.]+\])(?::[1-9][0-9]{0,4})?")
_NONE = timedelta(0)
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


def new_client_id() -> str:
    """Draw a client_id: letters and digits only, so that a double click selects all of it."""
    return secrets.token_hex(16)


def default_scope() -> str:
    """Return the scope of a client for which none was given."""
    return "openid"


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
    """Accept only origins in the form that browsers send (RFC 6454 §6.2): others would never match."""
    for origin in value.split():
        if not _ORIGIN.fullmatch(origin) or origin.endswith(_DEFAULT_PORTS[origin.partition(":")[0]]):
            raise ValidationError(
                _("%(origin)s is not an origin. Write it like this: https://app.example.com"),
                params={"origin": origin},
            )


def validate_lifetime(value: timedelta) -> None:
    """Accept only finite lifetimes of at least a second: JWTs count whole seconds."""
    if not timedelta(seconds=1) <= value <= timedelta(days=3660):
        raise ValidationError(_("A lifetime must be between one second and ten years."))


def validate_grace_period(value: timedelta) -> None:
    """Accept zero as well: strict one-time use."""
    if value:
        validate_lifetime(value)


class CaseSensitiveCharField(_CharField):
    """A CharField that distinguishes upper and lower case on every database.

    By default MariaDB and MySQL ignore case when they compare, and no collation has a name that all
    databases know.
    """

    def db_parameters(self, connection: Any) -> Any:
        """Add the collation where the database needs one."""
        parameters: Any = super().db_parameters(connection)
        if connection.vendor == "mysql":
            parameters["collation"] = "utf8mb4_bin"
        return parameters


class ApplicationType(models.TextChoices):
    """The four types of application. The first and the last must have a secret."""

    WEB = "web", _("Web application")
    SPA = "spa", _("Single-page application")
    MOBILE = "mobile", _("Mobile application")
    M2M = "m2m", _("Machine to machine")


class Client(models.Model):
    """An application that may get tokens (RFC 6749 §2)."""

    client_id = CaseSensitiveCharField(
        _("client_id"), max_length=100, unique=True, default=new_client_id, validators=[validate_client_id]
    )
    name = models.CharField(_("name"), max_length=200)
    application_type = models.CharField(
        _("application type"),
        max_length=10,
        choices=ApplicationType.choices,
        help_text=_(
            "Web and machine-to-machine applications run on a server and get a secret. Single-page and "
            "mobile applications can't keep a secret."
        ),
    )
    scope = models.TextField(
        _("allowed scopes"),
        default=default_scope,
        validators=[validate_scope],
        help_text=_(
            "Names separated by spaces. If you remove a scope, sessions that were granted it can no longer "
            "be refreshed."
        ),
    )
    is_active = models.BooleanField(
        _("active"),
        default=True,
        help_text=_("A disabled application can't refresh tokens."),
    )
    refresh_tokens_enabled = models.BooleanField(_("refresh tokens enabled"), default=True)

    access_token_lifetime = models.DurationField(
        _("access token lifetime"), null=True, blank=True, validators=[validate_lifetime]
    )
    id_token_lifetime = models.DurationField(
        _("id_token lifetime"), null=True, blank=True, validators=[validate_lifetime]
    )
    refresh_token_lifetime = models.DurationField(
        _("refresh token lifetime"),
        null=True,
        blank=True,
        validators=[validate_lifetime],
        help_text=_("How long a refresh token may stay unused. Every refresh restarts this time."),
    )
    session_lifetime = models.DurationField(
        _("session lifetime"),
        null=True,
        blank=True,
        validators=[validate_lifetime],
        help_text=_("How long a session lasts from its first tokens, however often it is refreshed."),
    )
    refresh_token_grace_period = models.DurationField(
        _("grace period"),
        null=True,
        blank=True,
        validators=[validate_grace_period],
        help_text=_(
            "How long the previous refresh token, when used again, gets the same successor again. "
            "0 means strict one-time use: an application that uses a token twice is signed out."
        ),
    )
    audience = models.CharField(
        _("audience"),
        max_length=255,
        blank=True,
        help_text=_("The aud of access tokens. If empty, the client_id."),
    )
    allowed_origins = models.TextField(
        _("allowed origins"),
        blank=True,
        validators=[validate_origins],
        help_text=_(
            "Origins from which browsers may call, for example https://app.example.com, separated by spaces."
        ),
    )
    may_introspect = models.BooleanField(
        _("may introspect all tokens"),
        default=False,
        help_text=_("For resource servers: the client may also introspect tokens of other applications."),
    )
    created_at = models.DateTimeField(_("created"), default=timezone.now, editable=False)

    class Meta:
        verbose_name = _("client")
        verbose_name_plural = _("clients")
        ordering = ("name", "pk")
        permissions = (("rotate_client_secret", _("Can give a client a new secret")),)

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Refuse a machine whose ``sub``, its client_id, could be that of a user (RFC 9700 §4.15)."""
        super().clean()
        if self.application_type == ApplicationType.M2M and self.client_id.isdigit():
            message = _(
                "The client_id of a machine must not consist of digits only: it could be mistaken for a "
                "user's primary key."
            )
            raise ValidationError({"client_id": message})

    @property
    def must_have_secret(self) -> bool:
        """Whether this type of application is always confidential (RFC 6749 §2.1)."""
        return self.application_type in (ApplicationType.WEB, ApplicationType.M2M)

    @property
    def scopes(self) -> tuple[str, ...]:
        """The scopes that it may be granted."""
        return tuple(self.scope.split())

    @property
    def token_audience(self) -> str:
        """The ``aud`` of its access tokens."""
        return self.audience or self.client_id

    # The lifetimes in force: the client's own, or the site's.

    @property
    def effective_access_token_lifetime(self) -> timedelta:
        """How long its access tokens live."""
        return self.access_token_lifetime or ciam_settings.ACCESS_TOKEN_LIFETIME

    @property
    def effective_id_token_lifetime(self) -> timedelta:
        """How long its id_tokens live."""
        return self.id_token_lifetime or ciam_settings.ID_TOKEN_LIFETIME

    @property
    def effective_refresh_token_lifetime(self) -> timedelta:
        """How long its refresh tokens may stay unused."""
        return self.refresh_token_lifetime or ciam_settings.REFRESH_TOKEN_LIFETIME

    @property
    def effective_session_lifetime(self) -> timedelta | None:
        """How long its sessions last; None for no limit."""
        return self.session_lifetime or ciam_settings.SESSION_LIFETIME

    @property
    def effective_grace_period(self) -> timedelta:
        """How long a predecessor gets its successor again; zero is not the same as None."""
        if self.refresh_token_grace_period is None:
            return ciam_settings.REFRESH_TOKEN_GRACE_PERIOD
        return self.refresh_token_grace_period


class ClientSecret(models.Model):
    """One secret of a client. Only what is needed to recognise it is stored, never the secret."""

    client = models.ForeignKey(Client, on_delete=models.CASCADE, related_name="secrets")
    # "sha256$<hex>" for secrets that the service made; any of Django's password hashes for imported ones.
    secret_digest = models.CharField(_("digest"), max_length=255, editable=False)
    last_four = models.CharField(_("ends with"), max_length=4, editable=False)
    created_at = models.DateTimeField(_("created"), default=timezone.now, editable=False)
    expires_at = models.DateTimeField(_("expires"), null=True, blank=True, editable=False)
    # Only to the hour: if every refresh wrote it, they would all wait for this row.
    last_used_at = models.DateTimeField(_("last used"), null=True, blank=True, editable=False)

    class Meta:
        verbose_name = _("client secret")
        verbose_name_plural = _("client secrets")
        ordering = ("-pk",)

    def __str__(self) -> str:
        return f"…{self.last_four}"


def longest_access_token_lifetime() -> timedelta:
    """Return the longest lifetime of an access token, for any client; one query."""
    return _longest(access_token_lifetime=ciam_settings.ACCESS_TOKEN_LIFETIME)


def longest_token_lifetime() -> timedelta:
    """Return the longest lifetime of a JWT of either kind, for any client; one query."""
    return _longest(
        access_token_lifetime=ciam_settings.ACCESS_TOKEN_LIFETIME,
        id_token_lifetime=ciam_settings.ID_TOKEN_LIFETIME,
    )


def _longest(**defaults: timedelta) -> timedelta:
    clients = Client.objects.using(write_database(Client))
    own: Iterable[timedelta | None] = clients.aggregate(*(Max(field) for field in defaults)).values()
    return max(*defaults.values(), *(lifetime for lifetime in own if lifetime is not None), _NONE)
