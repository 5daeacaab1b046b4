"""Signing keys: their life, and rotation. The private halves are shown nowhere."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from django_ciam_token.admin.base import ReadOnlyAdmin
from django_ciam_token.models import SigningKey


@admin.register(SigningKey)
class SigningKeyAdmin(ReadOnlyAdmin):
    """Signing keys; the private halves are shown nowhere."""

    list_display = ("kid", "algorithm", "state", "created_at", "active_at", "retired_at", "removed_at")
    search_fields = ("kid",)
    fields = (*list_display, "public_jwk")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: keys are rotated, and stay for the tokens that they signed."""
        return False

    @admin.display(description=_("state"))
    def state(self, key: SigningKey) -> str:
        """Return the present state."""
        return key.state(timezone.now()).value
