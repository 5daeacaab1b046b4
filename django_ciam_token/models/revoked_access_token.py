"""Access tokens that were revoked one by one."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


class RevokedAccessToken(models.Model):
    """The ``jti`` of a revoked access token, remembered until the token would have expired anyway."""

    jti = models.UUIDField(primary_key=True, editable=False)
    # Indexed, because the clean-up looks for expired rows. No refresh writes here.
    expires_at = models.DateTimeField(_("expires"), db_index=True, editable=False)

    class Meta:
        verbose_name = _("revoked access token")
        verbose_name_plural = _("revoked access tokens")

    def __str__(self) -> str:
        return str(self.jti)
