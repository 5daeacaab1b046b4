"""The Django app."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig, apps
from django.db.models.signals import post_migrate
from django.utils.translation import gettext_lazy as _


class CiamTokenConfig(AppConfig):
    """Registers the checks and lets ``migrate`` make the first signing key."""

    name = "django_ciam_token"
    verbose_name = _("Token service")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register checks and connect signal receivers."""
        from django.contrib.auth import get_user_model
        from django.contrib.auth.base_user import AbstractBaseUser

        from django_ciam_token import checks
        from django_ciam_token.authorization import login
        from django_ciam_token.database import forks
        from django_ciam_token.integrations import cors_headers, opentelemetry
        from django_ciam_token.keys import key_set, loading
        from django_ciam_token.monitoring import audit_trail
        from django_ciam_token.sessions.deletion import report_deletions
        from django_ciam_token.sessions.password_upgrade import keep_sessions_at_upgrades

        if apps.is_installed("drf_spectacular"):
            from django_ciam_token.integrations import drf_spectacular
            from django_ciam_token.views.base import EndpointView

            drf_spectacular.describe(EndpointView)

        # Proxies and children of the user model may have methods of their own.
        for model in apps.get_models():
            if issubclass(model, AbstractBaseUser) and issubclass(model, get_user_model()):
                keep_sessions_at_upgrades(model, require_right_secrets=key_set.require_right_secrets)
            report_deletions(model)
        audit_trail.connect()
        checks.register()
        login.connect()
        cors_headers.connect()
        loading.connect()
        opentelemetry.connect()
        forks.after_fork(forks.abandon_connections)
        post_migrate.connect(_make_first_signing_key, sender=self)


def _make_first_signing_key(*, using: str, verbosity: int, **_: Any) -> None:
    from django_ciam_token.keys import signing_keys

    made = signing_keys.ensure_first_key(using=using)
    if made is not None and verbosity:
        print(f"  Made the first signing key: {made.kid} ({made.algorithm})")
