"""Clients: the applications that may get tokens."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Max
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from django_ciam_token.conf import ciam_settings
from django_ciam_token.database.routing import write_database
from django_ciam_token.models.case_sensitive import CaseSensitiveCharField
from django_ciam_token.models.redirect_uris import matches, problems_of_type, validate_uris
from django_ciam_token.models.validators import (
    validate_client_id,
    validate_grace_period,
    validate_lifetime,
    validate_origins,
    validate_scope,
)

_NONE = timedelta(0)


def new_client_id() -> str:
    """Draw a client_id: letters and digits only, so that a double click selects all of it."""
    return secrets.token_hex(16)


def default_scope() -> str:
    """Return the scope of a client for which none was given."""
    return "openid"


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
    redirect_uris = models.TextField(
        _("redirect URIs"),
        blank=True,
        validators=[validate_uris],
        help_text=_(
            "Where people may be sent after signing in, one address a line, exactly as the application sends "
            "it. If there is none, nobody can sign in through this application."
        ),
    )
    post_logout_redirect_uris = models.TextField(
        _("post-logout redirect URIs"),
        blank=True,
        validators=[validate_uris],
        help_text=_("Where people may be sent after signing out, one address a line."),
    )
    asks_consent = models.BooleanField(
        _("ask for consent"),
        default=False,
        help_text=_("For applications of other people: the user is asked what the application may do."),
    )
    requires_pkce = models.BooleanField(
        _("require PKCE"),
        default=False,
        help_text=_(
            "Applications without a secret always must use it. Switch it on for a web application that uses "
            "it, so that nobody can leave it out."
        ),
    )
    may_use_client_credentials = models.BooleanField(
        _("may use client credentials"),
        default=False,
        help_text=_(
            "For web applications that also act for themselves. Machine-to-machine applications always may."
        ),
    )
    refreshes_client_credentials = models.BooleanField(
        _("refresh tokens with client credentials"),
        default=False,
        help_text=_(
            "Off, unless an application needs them: with its secret it can get an access token at any time."
        ),
    )
    created_at = models.DateTimeField(_("created"), default=timezone.now, editable=False)

    class Meta:
        verbose_name = _("client")
        verbose_name_plural = _("clients")
        ordering = ("name", "pk")
        permissions = (
            ("rotate_client_secret", _("Can replace and retire secrets of clients")),
            ("grant_introspection", _("Can let clients introspect all tokens")),
        )

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Refuse what this type of application must not have.

        A machine's ``sub`` is its client_id, which must not be taken for that of a user (RFC 9700 §4.15).
        """
        super().clean()
        errors: dict[str, Any] = {}
        if self.grants_client_credentials and self.client_id.isdigit():
            errors["client_id"] = _(
                "The client_id of a machine must not consist of digits only: it could be mistaken for a "
                "user's primary key."
            )
        for name in ("redirect_uris", "post_logout_redirect_uris"):
            if wrong := problems_of_type(getattr(self, name), application_type=self.application_type):
                errors[name] = wrong
        for name in ("may_use_client_credentials", "refreshes_client_credentials"):
            if getattr(self, name) and not self.must_have_secret:
                errors[name] = _(
                    "Only web and machine-to-machine applications, which have a secret, can use client "
                    "credentials."
                )
        if errors:
            raise ValidationError(errors)

    def has_redirect_uri(self, uri: str) -> bool:
        """Tell whether people may be sent there after signing in (RFC 9700 §2.1)."""
        return any(matches(registered, uri) for registered in self.redirect_uris.split())

    def has_post_logout_redirect_uri(self, uri: str) -> bool:
        """Tell whether people may be sent there after signing out (RP-Initiated Logout 1.0 §3)."""
        return uri in self.post_logout_redirect_uris.split()

    @property
    def grants_client_credentials(self) -> bool:
        """Whether it may get tokens for itself (RFC 6749 §4.4): never without a secret."""
        if self.application_type == ApplicationType.WEB:
            return self.may_use_client_credentials
        return self.application_type == ApplicationType.M2M

    @property
    def must_use_pkce(self) -> bool:
        """Whether its authorization requests need a code_challenge (RFC 9700 §2.1.1)."""
        return self.requires_pkce or not self.must_have_secret

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
