"""Signing keys and the state that follows from their timestamps."""

from __future__ import annotations

from datetime import datetime

from django.db import models
from django.utils.translation import gettext_lazy as _

from django_ciam_token.database.local_time import is_past


class SigningKeyState(models.TextChoices):
    """The state of a key."""

    PUBLISHED = "published", _("published")
    """In the JWK Set, so that verifiers can fetch it; not yet signing."""
    ACTIVE = "active", _("active")
    """Signing."""
    RETIRED = "retired", _("retired")
    """Still in the JWK Set, for the tokens that it has signed; no longer signing."""
    REMOVED = "removed", _("removed")
    """No longer in the JWK Set: all tokens that it signed are refused."""


class SigningKey(models.Model):
    """A key pair. Its state is computed and not stored, so it changes without a job."""

    kid = models.CharField("kid", max_length=64, unique=True, editable=False)
    algorithm = models.CharField(_("algorithm"), max_length=10, editable=False)
    public_jwk = models.JSONField(_("public key"), editable=False)
    encrypted_private_key = models.TextField(editable=False)
    """PKCS #8 PEM and public JWK, encrypted with a key derived from the site's secrets."""
    is_provisional = models.BooleanField(default=False, editable=False)
    """Whether ``migrate`` made it and it has signed nothing yet: it gives way to keys that are loaded."""
    created_at = models.DateTimeField(_("published"), editable=False)
    active_at = models.DateTimeField(_("active"), editable=False)
    retired_at = models.DateTimeField(_("retired"), null=True, editable=False)
    removed_at = models.DateTimeField(_("removed"), null=True, editable=False)

    class Meta:
        verbose_name = _("signing key")
        verbose_name_plural = _("signing keys")
        ordering = ("-active_at", "-pk")
        permissions = (("rotate_signingkey", _("Can rotate signing keys")),)

    def __str__(self) -> str:
        return self.kid

    def state(self, now: datetime) -> SigningKeyState:
        """Return the state at an instant."""
        if self.removed_at is not None and is_past(self.removed_at, now):
            return SigningKeyState.REMOVED
        if self.retired_at is not None and is_past(self.retired_at, now):
            return SigningKeyState.RETIRED
        if is_past(self.active_at, now):
            return SigningKeyState.ACTIVE
        return SigningKeyState.PUBLISHED
