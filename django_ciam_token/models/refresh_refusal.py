"""Why refreshes of a session were refused."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from django_ciam_token.database.local_time import local


class RefreshRefusal(models.Model):
    """A refused refresh of a session; the same again from the same place is counted in the same row.

    A session has at most as many rows as there are slots, so refusals can't fill the table. Session, client
    and user are stored by value: for a foreign key Django would load every session that is deleted, and not
    every database lets a foreign key refer to a partitioned table.
    """

    session_id = models.UUIDField(editable=False)
    slot = models.PositiveSmallIntegerField(editable=False)
    """Zero for the first refusal, which is never overwritten."""
    reason = models.CharField(max_length=64)
    """As the log has it: one of few fixed words."""
    first_at = models.DateTimeField()
    last_at = models.DateTimeField(db_index=True)
    number = models.PositiveIntegerField(default=1)
    """How many of them were noted; in a flood not all are."""
    client_id = models.CharField(max_length=100, blank=True)
    """Of the client that asked, if it has proved its identity."""
    user_id = models.CharField(max_length=64, blank=True)
    address = models.GenericIPAddressField(null=True, blank=True)
    user_agent = models.CharField(max_length=200, blank=True)

    class Meta:
        verbose_name = _("refused refresh")
        verbose_name_plural = _("refused refreshes")
        constraints = (
            models.UniqueConstraint(fields=("session_id", "slot"), name="ciam_refusal_of_session"),
        )
        # The page of the session shows them, to operators who may see the session.
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.reason} {local(self.last_at).isoformat(' ', 'seconds')}"
