"""The secrets of clients."""

from __future__ import annotations

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from django_ciam_token.models.client import Client


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
