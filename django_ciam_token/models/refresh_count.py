"""The number of refreshes per day."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


class RefreshCount(models.Model):
    """The refreshes of a day, in the site's time zone, that one shard has counted.

    A refresh is not a security event and writes none. Each process counts in memory, and now and then adds
    its count to one of a few rows. There are several, so that processes seldom wait for each other.
    """

    day = models.DateField(_("day"), editable=False)
    shard = models.PositiveSmallIntegerField(editable=False)
    count = models.PositiveBigIntegerField(_("refreshes"), default=0, editable=False)

    class Meta:
        verbose_name = _("refresh count")
        verbose_name_plural = _("refresh counts")
        constraints = (models.UniqueConstraint(fields=("day", "shard"), name="ciam_refresh_count_of_day"),)
        # The service alone uses these rows, so there are no permissions for them.
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.day} {self.count}"
