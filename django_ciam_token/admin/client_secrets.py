"""The secrets of a client: the first one, replacing it, and the page that shows a new one."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_variables

from django_ciam_token.admin import new_secret, quick_start, times
from django_ciam_token.admin.base import Confirmation, TokenAdmin, is_confirmed
from django_ciam_token.admin.client_form import OverlapForm
from django_ciam_token.caller import Caller
from django_ciam_token.clients.changes import report_creation, update_client
from django_ciam_token.clients.secrets import (
    add_first_secret,
    is_live,
    replace_client_secret,
    secret_to_keep,
)
from django_ciam_token.errors import TemporarilyUnavailable
from django_ciam_token.models import Client, ClientSecret
from django_ciam_token.sessions.user import user_name

if TYPE_CHECKING:
    _SecretInline = admin.TabularInline[ClientSecret, Client]
else:
    _SecretInline = admin.TabularInline


class SecretInline(_SecretInline):
    """The secrets of a client: the characters that identify each, and when it ends."""

    model = ClientSecret
    fields = readonly_fields = (
        "last_four",
        *times.fields(ClientSecret, "created_at", "last_used_at", "expires_at"),
    )
    extra = 0
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: the service generates secrets, nobody types them."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: secrets are replaced, not changed."""
        return False

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return True: operators who may see the client may also see what is known about its secrets."""
        return True


class ClientSecretsMixin(TokenAdmin):
    """Generates, replaces and shows the secrets of a client."""

    def get_urls(self) -> list[URLPattern]:
        """Add the pages that show and replace a secret."""
        return [
            self.route("<path:object_id>/new-secret/", self.new_secret_view, "client_new_secret"),
            self.route("<path:object_id>/replace-secret/", self.replace_secret_view, "client_replace_secret"),
            *super().get_urls(),
        ]

    def may_replace_secret(self, request: HttpRequest) -> bool:
        """Tell whether the operator may give a client a new secret."""
        return request.user.has_perm("django_ciam_token.rotate_client_secret")

    def save_model(self, request: HttpRequest, obj: Client, form: Any, change: bool) -> None:
        """Save only the changed fields; generate the first secret of a new client that must have one."""
        actor, caller = user_name(request.user), Caller.of(request)
        if change:
            columns = {field.name for field in obj._meta.concrete_fields}
            fields = {name: getattr(obj, name) for name in columns.intersection(form.changed_data)}
            update_client(obj, actor=actor, caller=caller, **fields)
            return
        super().save_model(request, obj, form, change)
        if obj.must_have_secret:
            new_secret.keep(request, obj, add_first_secret(obj))
        report_creation(obj, actor=actor, caller=caller)

    def response_add(self, request: HttpRequest, obj: Client, post_url_continue: Any = None) -> HttpResponse:
        """Redirect to the page that shows the client_id and the secret."""
        super().response_add(request, obj, post_url_continue)
        return HttpResponseRedirect(self.url("client_new_secret", obj.pk))

    @method_decorator([never_cache, sensitive_variables()])
    def new_secret_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show a new secret on the first request for it, and snippets to paste."""
        client = self.get_object(request, unquote(object_id))
        may_see = (
            self.has_add_permission(request)
            or self.has_change_permission(request)
            or self.may_replace_secret(request)
            or self.has_view_permission(request)
        )
        if client is None or not may_see:
            return HttpResponseRedirect(self.url("client_changelist"))
        secret = new_secret.take(request, client)
        has_secret = client.secrets.exists()
        back = self.url("client_change", client.pk)
        return self.page(
            request,
            "new_secret.html",
            title=_("How %(client)s gets its tokens") % {"client": client},
            trail=[(back, str(client))],
            client=client,
            secret=secret,
            has_secret=has_secret,
            replaced_ends_at=_end_of_replaced(client),
            snippets=quick_start.snippets(client, secret, has_secret=has_secret),
            replace_url=(
                self.url("client_replace_secret", client.pk) if self.may_replace_secret(request) else None
            ),
            client_url=back if self.has_view_or_change_permission(request, client) else None,
        )

    @method_decorator([never_cache, sensitive_variables()])
    def replace_secret_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask how long the current secret stays valid, and generate a new one."""
        self.require(self.may_replace_secret(request))
        client = self.get_or_404(request, unquote(object_id))
        back = self.url("client_change", client.pk)
        form = OverlapForm(request.POST if is_confirmed(request) else None)
        if not form.is_valid():
            return self.confirm(request, _replacing(client, form, back))
        try:
            secret = replace_client_secret(
                client,
                overlap=form.chosen,
                actor=user_name(request.user),
                caller=Caller.of(request),
            )
        except TemporarilyUnavailable:
            messages.error(
                request,
                _(
                    "The database is temporarily unavailable. A new secret may have been created all the "
                    "same, but nobody has seen it: try again now."
                ),
            )
            return HttpResponseRedirect(back)
        new_secret.keep(request, client, secret)
        self.log_change(request, client, _("Given a new secret."))
        return HttpResponseRedirect(self.url("client_new_secret", client.pk))


def _replacing(client: Client, form: OverlapForm, back: str) -> Confirmation:
    now = timezone.now()
    present = [secret for secret in client.secrets.order_by("-pk") if is_live(secret, now)]
    kept = secret_to_keep(present)
    details = [
        _("The secret …%(last_four)s is already due to end on %(end)s.")
        % {"last_four": secret.last_four, "end": times.exact(secret.expires_at)}
        for secret in present
        if secret is kept and secret.expires_at is not None
    ]
    details += [
        _("The secret …%(last_four)s ends now: a client can have at most two.")
        % {"last_four": secret.last_four}
        for secret in present
        if secret is not kept
    ]
    if not present and not client.must_have_secret:
        details.append(
            _("This client has had no secret so far. Installed copies without the new one will be refused.")
        )
    return Confirmation(
        title=_("New secret"),
        question=_("Give %(client)s a new secret? It is shown only once.") % {"client": client},
        details=details,
        form=form,
        button=_("Yes, create a new secret"),
        cancel_url=back,
        is_dangerous=False,
        trail=[(back, str(client))],
    )


def _end_of_replaced(client: Client) -> datetime | None:
    """Return when the replaced secret ends."""
    now = timezone.now()
    ends = [secret.expires_at for secret in client.secrets.all() if secret.expires_at is not None]
    return max((end for end in ends if end > now), default=None)
