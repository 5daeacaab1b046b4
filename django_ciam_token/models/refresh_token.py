"""Sessions: one row for each, no matter how often it is refreshed."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from django_ciam_token.database.local_time import after, is_past
from django_ciam_token.database.uuid7 import uuid7
from django_ciam_token.models.client import Client

NOT_EXCHANGED: Final = b""
"""The nonce of a session that is only an authorization code so far."""


class RevocationReason(models.TextChoices):
    """Why a session was ended."""

    REUSE = "reuse", _("a superseded refresh token was used")
    CLIENT = "client", _("by the application")
    OPERATOR = "operator", _("by an operator")
    USER = "user", _("by the user")
    CONSENT = "consent_withdrawn", _("consent withdrawn")


class SessionState(models.TextChoices):
    """The state of a session."""

    LIVE = "live", _("live")
    IDLE_EXPIRED = "idle_expired", _("expired unused")
    """Nobody refreshed it in time."""
    EXPIRED = "expired", _("expired")
    """It reached its absolute end, which no refresh extends."""
    REVOKED = "revoked", _("revoked")
    BLOCKED = "blocked", _("blocked")
    """It has not ended, but its user or its client keeps it from being refreshed."""


class RefreshToken(models.Model):
    """A session (token family): its current refresh token and the facts about it.

    A rotation updates this row in place, so the table grows with the number of sessions, not with the
    number of refreshes. It is made for 100 million rows:

    - The key is a UUIDv7. It takes 16 bytes on PostgreSQL and MariaDB, and any host can make one without a
      query. It is part of the token string, so a refresh needs only this index, and the table can be
      partitioned or distributed by it. It ascends, so inserts touch few pages, and a walk in key order
      goes from old to new.
    - The only other indexes are for "all sessions of this user" and "the newest sessions of this client".
      A rotation writes no indexed column, so on PostgreSQL it is a heap-only update, which changes no
      index. For this reason expiry has no index, and the clean-up walks the key instead. The migration
      leaves room on each page for such updates.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    client = models.ForeignKey(
        Client,
        on_delete=models.CASCADE,
        related_name="refresh_tokens",
        verbose_name=_("client"),
        db_index=False,  # The index below begins with it.
    )
    # Deleting a user must delete the sessions. A row without a user belongs to a machine, and SET_NULL
    # would turn a user's session into one of those.
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        related_name="ciam_refresh_tokens",
        null=True,
        blank=True,
        verbose_name=_("user"),
    )
    scope = models.TextField(_("scope"))
    """The scope first granted; a narrower access token does not narrow it (RFC 6749 §6)."""
    generation = models.PositiveIntegerField(_("generation"), default=0)
    """How many rotations there were. Only this says which of two tokens is newer."""
    secret_digest = models.BinaryField(max_length=32, editable=False)
    nonce = models.BinaryField(max_length=16, editable=False)
    """Drawn by the last rotation. From it and the predecessor the current token can be computed again. It is
    `NOT_EXCHANGED` while the session is only an authorization code."""
    has_refresh_token = models.BooleanField(default=True, db_default=True, editable=False)
    """False if its client could not use refresh tokens when the session began: it was given none."""
    session_auth_hash = models.CharField(max_length=64, blank=True, editable=False)
    """MAC of the user's password hash: a refresh is refused when the password was changed."""
    auth_time = models.DateTimeField(_("signed in"), null=True, blank=True)
    issued_at = models.DateTimeField(_("started"))
    rotated_at = models.DateTimeField(_("last refreshed"), null=True, blank=True)
    """By the database's clock, and only ever compared with that clock."""
    expires_at = models.DateTimeField(_("expires"))
    revoked_at = models.DateTimeField(_("revoked"), null=True, blank=True)
    revoked_reason = models.CharField(
        _("reason"), max_length=20, blank=True, choices=RevocationReason.choices
    )
    last_address = models.GenericIPAddressField(_("address"), null=True, blank=True)
    last_user_agent = models.CharField(_("user agent"), max_length=200, blank=True)

    class Meta:
        verbose_name = _("session")
        verbose_name_plural = _("sessions")
        permissions = (
            ("revoke_refreshtoken", _("Can end sessions")),
            ("bulk_revoke_refreshtoken", _("Can end all sessions of a client, or by criteria")),
        )
        indexes = (models.Index(fields=("client", "id"), name="ciam_session_of_client"),)

    def __str__(self) -> str:
        return str(self.pk)

    @property
    def scopes(self) -> tuple[str, ...]:
        """The scope first granted."""
        return tuple(self.scope.split())

    @property
    def is_code(self) -> bool:
        """Whether it is only an authorization code so far."""
        return bytes(self.nonce) == NOT_EXCHANGED

    def ends_at(self, client: Client) -> datetime:
        """Return when it ends if it is not refreshed again.

        The absolute end is computed, not stored, so that a shorter setting takes effect at once.

        Args:
            client: the client of this session, which decides how long sessions last.
        """
        lifetime = client.effective_session_lifetime
        return self.expires_at if lifetime is None else min(self.expires_at, after(self.issued_at, lifetime))

    def state(self, now: datetime) -> SessionState:
        """Return the state by its own times: live, expired or revoked.

        A refresh also looks at the user and the client; `sessions.state.state_of` does so too. The client
        must have been fetched, because it decides how long sessions last.
        """
        if self.revoked_at is not None:
            return SessionState.REVOKED
        lifetime = self.client.effective_session_lifetime
        if lifetime is not None and is_past(after(self.issued_at, lifetime), now):
            return SessionState.EXPIRED
        return SessionState.IDLE_EXPIRED if is_past(self.expires_at, now) else SessionState.LIVE
