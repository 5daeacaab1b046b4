"""The audit trail."""

from __future__ import annotations

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from django_ciam_token.database.local_time import local


class EventType(models.TextChoices):
    """The events that the audit trail records; an ordinary refresh is not one of them."""

    ISSUED = "issued", _("first tokens issued")
    REPLAYED = "replayed", _("answer repeated")
    REUSE_DETECTED = "reuse_detected", _("superseded refresh token used")
    REVOKED = "revoked", _("revoked")
    CLIENT_AUTHENTICATION_FAILED = "client_auth_failed", _("client authentication failed")
    KEY_ROTATED = "key_rotated", _("signing key rotated")
    SECRET_ROTATED = "secret_rotated", _("client secret rotated")
    SECRET_RETIRED = "secret_retired", _("client secret retired")
    CLIENT_CHANGED = "client_changed", _("client changed")
    CONSENT_GIVEN = "consent_given", _("consent given")
    CONSENT_WITHDRAWN = "consent_withdrawn", _("consent withdrawn")
    ALERTED = "alerted", _("alert sent")
    EXPORTED = "exported", _("rows exported")


class SecurityEvent(models.Model):
    """One event; rows are only ever added.

    It stores clients, users and sessions by value: they may be deleted long before their history is.
    """

    event = models.CharField(_("event"), max_length=20, choices=EventType.choices)
    at = models.DateTimeField(_("time"), default=timezone.now, db_index=True)
    client_id = models.CharField(_("client_id"), max_length=100, blank=True)
    user_id = models.CharField(_("user"), max_length=64, blank=True)
    session_id = models.UUIDField(_("session"), null=True, blank=True, db_index=True)
    reason = models.CharField(_("reason"), max_length=64, blank=True)
    actor = models.CharField(_("by"), max_length=150, blank=True)
    address = models.GenericIPAddressField(_("address"), null=True, blank=True)
    user_agent = models.CharField(_("user agent"), max_length=200, blank=True, db_default="")
    detail = models.JSONField(_("changes"), null=True, blank=True)
    """Of a changed client: each field that changed, with its old and its new value. Never a secret."""

    class Meta:
        verbose_name = _("security event")
        verbose_name_plural = _("security events")
        ordering = ("-pk",)
        # An export of either list is an event.
        permissions = (
            ("export_securityevent", _("Can export security events")),
            ("export_refreshtoken", _("Can export sessions")),
        )
        indexes = (models.Index(fields=("event", "at"), name="ciam_event_at"),)

    def __str__(self) -> str:
        # With the offset of the current time zone, as the pages show times.
        return f"{self.event} {local(self.at).isoformat(' ', 'seconds')}"
