"""Clients: the list, and the page of one."""

from __future__ import annotations

from typing import Any, Final

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.db.models import Max, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils import timezone
from django.utils.formats import number_format
from django.utils.html import format_html
from django.utils.timesince import timesince
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_ciam_token.admin import times
from django_ciam_token.admin.base import UNCERTAIN, TokenAdmin, copyable
from django_ciam_token.admin.client_deletion import ClientDeletionMixin
from django_ciam_token.admin.client_form import ClientForm
from django_ciam_token.admin.client_secrets import ClientSecretsMixin, SecretInline
from django_ciam_token.admin.client_sessions import ClientSessionsMixin
from django_ciam_token.admin.client_switch import ClientSwitchMixin
from django_ciam_token.admin.secret_retirement import SecretRetirementMixin
from django_ciam_token.errors import TemporarilyUnavailable
from django_ciam_token.models import ApplicationType, Client, RefreshToken
from django_ciam_token.monitoring.figures import session_figures

_NOT_FOR_MACHINES: Final = (
    "redirect_uris",
    "post_logout_redirect_uris",
    "allowed_origins",
    "asks_consent",
    "requires_pkce",
    "may_use_client_credentials",
)
_ONLY_WITH_SECRET: Final = ("may_use_client_credentials", "refreshes_client_credentials", "requires_pkce")

[_CREATED] = times.fields(Client, "created_at")


@admin.register(Client)
class ClientAdmin(
    ClientSecretsMixin,
    SecretRetirementMixin,
    ClientSessionsMixin,
    ClientSwitchMixin,
    ClientDeletionMixin,
    TokenAdmin,
):
    """Applications. After adding one, a page shows its secret once."""

    form = ClientForm
    list_display = ("name", "application_type", "copyable_id", "is_active", "live_sessions", "secret_age")
    list_filter = ("application_type", "is_active")
    search_fields = ("name", "client_id")
    search_help_text = gettext_lazy("Name or client_id")
    readonly_fields = (_CREATED,)
    inlines = (SecretInline,)
    change_form_template = "admin/django_ciam_token/client.html"
    fieldsets = (
        (
            None,
            {
                "fields": (
                    "name",
                    "application_type",
                    "client_id",
                    "is_active",
                    "redirect_uris",
                    "allowed_origins",
                    "scope",
                )
            },
        ),
        (
            gettext_lazy("Signing in and out"),
            {"fields": ("post_logout_redirect_uris", "asks_consent", "requires_pkce")},
        ),
        (
            gettext_lazy("What else it may do"),
            {
                "fields": (
                    "refresh_tokens_enabled",
                    "may_use_client_credentials",
                    "refreshes_client_credentials",
                    "may_introspect",
                )
            },
        ),
        (
            gettext_lazy("Lifetimes and audience"),
            {
                "classes": ("collapse",),
                "description": gettext_lazy(
                    "If a field is empty, the site's setting applies. A new mobile or machine-to-machine "
                    "application gets longer lifetimes of its own instead. Enter a number of seconds, or "
                    "days and hours:minutes:seconds, for example 30 00:00:00."
                ),
                "fields": (
                    "access_token_lifetime",
                    "id_token_lifetime",
                    "refresh_token_lifetime",
                    "session_lifetime",
                    "refresh_token_grace_period",
                    "audience",
                    _CREATED,
                ),
            },
        ),
    )

    def get_fieldsets(self, request: HttpRequest, obj: Client | None = None) -> Any:
        """Leave out what an existing client of this type has no use for, unless something is set there."""
        fieldsets: Any = super().get_fieldsets(request, obj)
        if obj is None:
            return fieldsets
        useless: tuple[str, ...] = _NOT_FOR_MACHINES if obj.application_type == ApplicationType.M2M else ()
        useless = useless if obj.must_have_secret else _ONLY_WITH_SECRET
        shown = [
            (
                title,
                {
                    **options,
                    "fields": [
                        name for name in options["fields"] if name not in useless or getattr(obj, name)
                    ],
                },
            )
            for title, options in fieldsets
        ]
        return [(title, options) for title, options in shown if options["fields"]]

    def get_readonly_fields(self, request: HttpRequest, obj: Client | None = None) -> Any:
        """Make read-only what installed applications and resource servers rely on."""
        # A form that was opened before the client was disabled must not enable it: a button does.
        fixed: tuple[str, ...] = ("client_id", "application_type", "is_active") if obj else ()
        # Permission to change a name must not suffice to let a machine look at everybody's tokens.
        if not request.user.has_perm("django_ciam_token.grant_introspection"):
            fixed = (*fixed, "may_introspect")
        return (*super().get_readonly_fields(request, obj), *fixed)

    def get_inlines(self, request: HttpRequest, obj: Client | None) -> Any:
        """Show the secrets of an existing client only."""
        return self.inlines if obj else ()

    # The list

    def get_queryset(self, request: HttpRequest) -> QuerySet[Client]:
        """Read the age of the newest secret with each client."""
        clients: QuerySet[Client] = super().get_queryset(request)
        return clients.annotate(newest_secret_at=Max("secrets__created_at"))

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """Count the live sessions of all clients on the page at once."""
        changes: Any = super().get_changelist_instance(request)
        clients = list(changes.result_list)
        figures = session_figures(now=timezone.now(), clients=[client.pk for client in clients])
        may_see_sessions = self.may(request, "view", RefreshToken)
        for client in clients:
            client.figures, client.may_see_sessions = figures, may_see_sessions
        changes.result_list = clients
        return changes

    @admin.display(description="client_id", ordering="client_id")
    def copyable_id(self, client: Client) -> str:
        """Return the client_id with a button to copy it."""
        return copyable(client.client_id)

    @admin.display(description=gettext_lazy("live sessions"))
    def live_sessions(self, client: Any) -> str:
        """Return the exact or estimated number, with a link to the sessions for those who may see them."""
        live = client.figures.live.get(client.pk, 0)
        text = number_format(live, force_grouping=True)
        if client.figures.is_estimate:
            text = _("about %(number)s") % {"number": text} if live else _("few")
        if not client.may_see_sessions:
            return text
        address = f"{self.url('refreshtoken_changelist')}?client__id__exact={client.pk}&state=live"
        return format_html('<a href="{}">{}</a>', address, text)

    @admin.display(description=gettext_lazy("secret age"), ordering="newest_secret_at")
    def secret_age(self, client: Any) -> str:
        """Return how old the newest secret is."""
        return timesince(client.newest_secret_at, depth=1) if client.newest_secret_at else _("no secret")

    # One client

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show a client, the actions for it, and its newest sessions."""
        client = self.get_object(request, unquote(object_id))
        context: dict[str, Any] = {}
        if client is not None and self.has_view_or_change_permission(request, client):
            context = {"tools": self._tools(request, client), **self.newest_sessions(request, client)}
        try:
            return super().change_view(request, object_id, form_url, {**context, **(extra_context or {})})
        except TemporarilyUnavailable:
            messages.error(request, UNCERTAIN)
            return HttpResponseRedirect(request.get_full_path())

    def _tools(self, request: HttpRequest, client: Client) -> list[tuple[str, str]]:
        """Return the addresses and names of the actions that the operator may use."""
        tools = [(self.url("client_new_secret", client.pk), _("Quick start"))]
        if self.may_replace_secret(request):
            tools.append((self.url("client_replace_secret", client.pk), _("New secret")))
        tools += self.retirement_tools(request, client)
        if self.may(request, "bulk_revoke", RefreshToken):
            tools.append((self.url("client_end_sessions", client.pk), _("End all sessions")))
        if self.has_change_permission(request, client):
            tools.append(
                (self.url("client_switch", client.pk), _("Disable") if client.is_active else _("Enable"))
            )
        return tools
