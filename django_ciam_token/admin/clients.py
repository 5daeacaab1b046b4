"""The admin pages. Nothing secret is on any of them, but for a new client secret, once."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from django.contrib import admin
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_variables

from django_ciam_token import keyring
from django_ciam_token.clients import add_first_secret
from django_ciam_token.models import Client, ClientSecret

if TYPE_CHECKING:
    _ClientAdmin = admin.ModelAdmin[Client]
    _SecretInline = admin.TabularInline[ClientSecret, Client]
else:
    _ClientAdmin = admin.ModelAdmin
    _SecretInline = admin.TabularInline

_NEW_SECRET: Final = "django_ciam_token_new_secret"
_SHOWN_WITHIN: Final = 300
"""Seconds from the creation of a secret in which it can be shown."""


class SecretInline(_SecretInline):
    """The secrets of a client: by which characters to tell them apart, and when they end."""

    model = ClientSecret
    fields = readonly_fields = ("last_four", "created_at", "expires_at")
    extra = 0
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: secrets are drawn, not written."""
        return False


@admin.register(Client)
class ClientAdmin(_ClientAdmin):
    """Applications; a new one that needs a secret is followed by a page that shows it once."""

    list_display = ("name", "application_type", "client_id", "is_active", "created_at")
    list_filter = ("application_type", "is_active")
    search_fields = ("name", "client_id")
    readonly_fields = ("created_at",)
    inlines = (SecretInline,)
    fieldsets = (
        (None, {"fields": ("name", "application_type", "client_id", "scope", "is_active")}),
        (
            _("Lifetimes and limits"),
            {
                "classes": ("collapse",),
                "description": _("Left empty, the settings of the site are in force."),
                "fields": (
                    "refresh_tokens_enabled",
                    "access_token_lifetime",
                    "id_token_lifetime",
                    "refresh_token_lifetime",
                    "session_lifetime",
                    "refresh_token_grace_period",
                    "audience",
                    "allowed_origins",
                    "may_introspect",
                    "created_at",
                ),
            },
        ),
    )

    def get_readonly_fields(self, request: HttpRequest, obj: Client | None = None) -> Any:
        """Freeze what installed applications and their verifiers rely on."""
        fixed = ("client_id", "application_type") if obj else ()
        return (*super().get_readonly_fields(request, obj), *fixed)

    def get_inlines(self, request: HttpRequest, obj: Client | None) -> Any:
        """Show secrets once there is a client to have them."""
        return self.inlines if obj else ()

    def get_urls(self) -> list[URLPattern]:
        """Add the page that shows a new secret."""
        shown_once = path(
            "<path:object_id>/new-secret/",
            self.admin_site.admin_view(self.new_secret_view),
            name="django_ciam_token_client_new_secret",
        )
        return [shown_once, *super().get_urls()]

    def save_model(self, request: HttpRequest, obj: Client, form: Any, change: bool) -> None:
        """Save, and draw the first secret of a client that must have one."""
        super().save_model(request, obj, form, change)
        if not change and obj.must_have_secret:
            _keep_new_secret(request, obj)

    def response_add(self, request: HttpRequest, obj: Client, post_url_continue: Any = None) -> HttpResponse:
        """Go on to the page that shows the secret."""
        response = super().response_add(request, obj, post_url_continue)
        if obj.must_have_secret:
            return HttpResponseRedirect(self._url("client_new_secret", obj.pk))
        return response

    @method_decorator([never_cache, sensitive_variables()])
    def new_secret_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show a new secret, the first time it is asked for."""
        client = self.get_object(request, object_id)
        may_see = self.has_add_permission(request) or self.has_change_permission(request)
        if client is None or not may_see:
            return HttpResponseRedirect(self._url("client_changelist"))
        context = {
            **self.admin_site.each_context(request),
            "title": _("The secret of %(client)s") % {"client": client},
            "opts": self.opts,
            "client": client,
            "secret": _take_new_secret(request, client),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "admin/django_ciam_token/new_secret.html", context)

    def _url(self, name: str, *args: Any) -> str:
        return reverse(f"admin:django_ciam_token_{name}", args=args, current_app=self.admin_site.name)


@sensitive_variables()
def _keep_new_secret(request: HttpRequest, client: Client) -> None:
    """Draw a secret and keep it to be shown; the session may be a cookie, so it is encrypted."""
    kept = json.dumps({"client": client.pk, "secret": add_first_secret(client)})
    request.session[_NEW_SECRET] = keyring.encrypt(kept.encode(), purpose=keyring.SHOWN_ONCE)


@sensitive_variables()
def _take_new_secret(request: HttpRequest, client: Client) -> str | None:
    """Return the secret that waits to be shown, and forget it."""
    kept = request.session.pop(_NEW_SECRET, None)
    if kept is None:
        return None
    try:
        content = json.loads(keyring.decrypt(kept, purpose=keyring.SHOWN_ONCE, max_age=_SHOWN_WITHIN))
    except keyring.Undecryptable:
        return None
    return str(content["secret"]) if content["client"] == client.pk else None
