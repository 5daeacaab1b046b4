"""Consents: what users have allowed applications of other people."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from django_ciam_token.models.client import Client


class Consent(models.Model):
    """What one user has allowed one client; all that was ever allowed and not taken back."""

    client = models.ForeignKey(
        Client,
        on_delete=models.CASCADE,
        related_name="consents",
        verbose_name=_("client"),
        db_index=False,  # The constraint below begins with it.
    )
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        related_name="ciam_consents",
        verbose_name=_("user"),
    )
    scope = models.TextField(_("scope"))
    """Names separated by spaces."""
    given_at = models.DateTimeField(_("given"), default=timezone.now, editable=False)
    """When something was allowed last."""

    class Meta:
        verbose_name = _("consent")
        verbose_name_plural = _("consents")
        default_permissions = ("view",)
        permissions = (("withdraw_consent", _("Can withdraw consents")),)
        constraints = (
            models.UniqueConstraint(fields=("client", "user"), name="ciam_consent_of_client_and_user"),
        )

    def __str__(self) -> str:
        return f"{self.client}: {self.scope}"

    @property
    def scopes(self) -> tuple[str, ...]:
        """What was allowed."""
        return tuple(self.scope.split())
