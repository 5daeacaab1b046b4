"""Clients: registering them, replacing their secrets, ending their sessions, switching them off."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.admin.utils import unquote
from django.db import transaction
from django.db.models import Max, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.formats import date_format, number_format
from django.utils.html import format_html
from django.utils.timesince import timesince
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_variables

from django_ciam_token.admin import new_secret, paging
from django_ciam_token.admin.base import UNCERTAIN, Confirmation, TokenAdmin, copyable, is_confirmed
from django_ciam_token.admin.client_form import ClientForm, OverlapForm
from django_ciam_token.caller import Caller
from django_ciam_token.clients.secrets import add_first_secret, rotate_client_secret, secret_to_keep
from django_ciam_token.database.retry import retry
from django_ciam_token.database.routing import write_database
from django_ciam_token.errors import TemporarilyUnavailable
from django_ciam_token.models import Client, ClientSecret, RefreshToken, RevocationReason, SessionState
from django_ciam_token.monitoring.figures import session_figures
from django_ciam_token.sessions.criteria import SessionCriteria, select_sessions
from django_ciam_token.sessions.revocation import revoke_sessions
from django_ciam_token.sessions.user import user_name

if TYPE_CHECKING:
    _SecretInline = admin.TabularInline[ClientSecret, Client]
else:
    _SecretInline = admin.TabularInline

_NEWEST_SESSIONS: Final = 10
_MOST_COUNTED: Final = 1_000
# A request should not last longer; what is left is ended by the next one.
_SECONDS_PER_REQUEST: Final = 10.0
# Deleting a client deletes its sessions in the same request and transaction.
_MOST_DELETED_ALONG: Final = 10_000


class SecretInline(_SecretInline):
    """The secrets of a client: by which characters to tell them apart, and when they end."""

    model = ClientSecret
    fields = readonly_fields = ("last_four", "created_at", "last_used_at", "expires_at")
    extra = 0
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: secrets are drawn, not written."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: they are replaced, not changed."""
        return False

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return True: who may see the client may see what is known of its secrets."""
        return True


@admin.register(Client)
class ClientAdmin(TokenAdmin):
    """Applications; a new one is followed by a page that shows its secret once."""

    form = ClientForm
    list_display = ("name", "application_type", "copyable_id", "is_active", "live_sessions", "secret_age")
    list_filter = ("application_type", "is_active")
    search_fields = ("name", "client_id")
    search_help_text = gettext_lazy("Name or client_id")
    readonly_fields = ("created_at",)
    inlines = (SecretInline,)
    actions = ("disable", "enable")
    change_form_template = "admin/django_ciam_token/client.html"
    delete_confirmation_template = "admin/django_ciam_token/delete_client.html"
    fieldsets = (
        (None, {"fields": ("name", "application_type", "scope")}),
        (
            gettext_lazy("Lifetimes and limits"),
            {
                "classes": ("collapse",),
                "description": gettext_lazy(
                    "Left empty, the settings of the site are in force; a new mobile or machine-to-machine "
                    "application is given longer lifetimes of its own. Write a number of seconds, or days "
                    "and hours:minutes:seconds, such as 30 00:00:00."
                ),
                "fields": (
                    "client_id",
                    "is_active",
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

    def get_fieldsets(self, request: HttpRequest, obj: Client | None = None) -> Any:
        """Show the client_id of a client first; a new one is given its own unless somebody wants another."""
        first, folded = super().get_fieldsets(request, obj)
        if obj is None:
            return (first, folded)
        moved = ("client_id", "is_active")
        rest = tuple(name for name in folded[1]["fields"] if name not in moved)
        shown = ("name", "application_type", "client_id", "is_active", "scope")
        return ((first[0], {"fields": shown}), (folded[0], {**folded[1], "fields": rest}))

    def get_readonly_fields(self, request: HttpRequest, obj: Client | None = None) -> Any:
        """Freeze what installed applications and their verifiers rely on."""
        # A form that was opened before the client was switched off must not switch it on; there is a button.
        fixed = ("client_id", "application_type", "is_active") if obj else ()
        return (*super().get_readonly_fields(request, obj), *fixed)

    def get_inlines(self, request: HttpRequest, obj: Client | None) -> Any:
        """Show secrets once there is a client to have them."""
        return self.inlines if obj else ()

    def get_urls(self) -> list[URLPattern]:
        """Add what can be done with a client."""
        return [
            self.route("<path:object_id>/new-secret/", self.new_secret_view, "client_new_secret"),
            self.route("<path:object_id>/replace-secret/", self.replace_secret_view, "client_replace_secret"),
            self.route("<path:object_id>/end-sessions/", self.end_sessions_view, "client_end_sessions"),
            self.route("<path:object_id>/switch/", self.switch_view, "client_switch"),
            *super().get_urls(),
        ]

    # The list

    def get_queryset(self, request: HttpRequest) -> QuerySet[Client]:
        """Read the age of the newest secret along."""
        clients: QuerySet[Client] = super().get_queryset(request)
        return clients.annotate(newest_secret_at=Max("secrets__created_at"))

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """Count the live sessions of the clients on the page, all at once."""
        changes: Any = super().get_changelist_instance(request)
        clients = list(changes.result_list)
        figures = session_figures(now=timezone.now(), clients=[client.pk for client in clients])
        for client in clients:
            client.figures = figures
        changes.result_list = clients
        return changes

    @admin.display(description="client_id", ordering="client_id")
    def copyable_id(self, client: Client) -> str:
        """Return the client_id with a button to copy it."""
        return copyable(client.client_id)

    @admin.display(description=gettext_lazy("live sessions"))
    def live_sessions(self, client: Any) -> str:
        """Return how many there are, or about how many, with a link to them."""
        live = client.figures.live.get(client.pk, 0)
        text = number_format(live, force_grouping=True)
        if client.figures.is_estimate:
            text = _("about %(number)s") % {"number": text} if live else _("few")
        address = f"{self.url('refreshtoken_changelist')}?client__id__exact={client.pk}&state=live"
        return format_html('<a href="{}">{}</a>', address, text)

    @admin.display(description=gettext_lazy("secret age"), ordering="newest_secret_at")
    def secret_age(self, client: Any) -> str:
        """Return how old the newest secret is."""
        return timesince(client.newest_secret_at, depth=1) if client.newest_secret_at else _("no secret")

    @admin.action(description=gettext_lazy("Disable selected clients"), permissions=["change"])
    def disable(self, request: HttpRequest, queryset: QuerySet[Client]) -> HttpResponse | None:
        """Ask, and switch clients off."""
        return self._switch(request, queryset, on=False)

    @admin.action(description=gettext_lazy("Enable selected clients"), permissions=["change"])
    def enable(self, request: HttpRequest, queryset: QuerySet[Client]) -> HttpResponse | None:
        """Ask, and switch clients on."""
        return self._switch(request, queryset, on=True)

    def _switch(self, request: HttpRequest, queryset: QuerySet[Client], *, on: bool) -> HttpResponse | None:
        most = paging.most_selected()
        names = list(queryset.values_list("pk", "name")[: most + 1])
        details = paging.cut_off(names, most)
        if not is_confirmed(request):
            action = "enable" if on else "disable"
            hidden = [("action", action), *(("_selected_action", str(pk)) for pk, _name in names)]
            question = _switch_question([name for _pk, name in names], on=on)
            texts = _switch_texts(on=on)
            return self.confirm(
                request,
                Confirmation(
                    **{**texts, "details": [*details, *texts["details"]]},
                    question=question,
                    cancel_url=request.get_full_path(),
                    hidden=hidden,
                    is_dangerous=not on,
                ),
            )
        self._write_switch(request, [pk for pk, _name in names], on=on)
        return None

    def _write_switch(self, request: HttpRequest, clients: list[int], *, on: bool) -> None:
        message = _("Enabled.") if on else _("Disabled.")
        operator: Any = request.user.pk
        using = write_database(Client)
        changed = Client.objects.using(using).filter(pk__in=clients, is_active=not on)

        def write(_: int) -> None:
            with transaction.atomic(using=using):
                switched = list(changed.values_list("pk", flat=True))
                changed.update(is_active=on)
                if switched:
                    entries = Client.objects.using(using).filter(pk__in=switched)
                    LogEntry.objects.log_actions(operator, entries, CHANGE, message)

        try:
            retry(write, using=using)
        except TemporarilyUnavailable:
            messages.error(request, UNCERTAIN)
        else:
            messages.success(request, message)

    # One client

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show a client, what can be done with it, and its newest sessions."""
        client = self.get_object(request, unquote(object_id))
        context: dict[str, Any] = {}
        if client is not None and self.has_view_or_change_permission(request, client):
            context = {"tools": self._tools(request, client), **self._newest_sessions(request, client)}
        return super().change_view(request, object_id, form_url, {**context, **(extra_context or {})})

    def _tools(self, request: HttpRequest, client: Client) -> list[tuple[str, str]]:
        """Return the addresses and names of what the operator may do."""
        tools = []
        if self._may_replace_secret(request):
            tools.append((self.url("client_replace_secret", client.pk), _("New secret")))
        if self.may(request, "revoke", RefreshToken):
            tools.append((self.url("client_end_sessions", client.pk), _("End all sessions")))
        if self.has_change_permission(request, client):
            tools.append(
                (self.url("client_switch", client.pk), _("Disable") if client.is_active else _("Enable"))
            )
        return tools

    def _newest_sessions(self, request: HttpRequest, client: Client) -> dict[str, Any]:
        if not self.may(request, "view", RefreshToken):
            return {}
        now = timezone.now()
        sessions = RefreshToken.objects.filter(client=client).select_related("user").order_by("-pk")
        rows = []
        for session in sessions[:_NEWEST_SESSIONS]:
            session.client = client
            rows.append((self.url("refreshtoken_change", session.pk), session, session.state(now)))
        # Among the newest: once all sessions of a client were ended, there may be millions to look through.
        among = paging.newest(RefreshToken.objects.filter(client=client))
        live = among.filter(revoked_at=None, expires_at__gt=now).order_by("-pk").values_list("pk", flat=True)
        newest = len(live[: _MOST_COUNTED + 1]) if rows else 0
        return {
            "newest_sessions": rows,
            "live_sessions": min(newest, _MOST_COUNTED),
            "has_more_sessions": newest > _MOST_COUNTED,
            "sessions_url": f"{self.url('refreshtoken_changelist')}?client__id__exact={client.pk}",
            "LIVE": SessionState.LIVE,
        }

    def _client(self, request: HttpRequest, object_id: str) -> Client:
        client: Client | None = self.get_object(request, unquote(object_id))
        if client is None:
            raise Http404
        return client

    def end_sessions_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask, and end the sessions of a client, as many as a request has time for."""
        self.require(self.may(request, "revoke", RefreshToken))
        client = self._client(request, object_id)
        back = self.url("client_change", client.pk)
        if not is_confirmed(request):
            return self.confirm(
                request,
                Confirmation(
                    title=_("End all sessions"),
                    question=_("End all sessions of %(client)s, of every user?") % {"client": client},
                    details=[
                        _("Everybody has to sign in again."),
                        _("To keep anybody from doing so, disable the client as well."),
                    ],
                    button=_("Yes, end them all"),
                    cancel_url=back,
                    trail=[(back, str(client))],
                ),
            )
        try:
            ended = revoke_sessions(
                SessionCriteria(client=client),
                reason=RevocationReason.OPERATOR,
                actor=user_name(request.user),
                caller=Caller.of(request),
                max_seconds=_SECONDS_PER_REQUEST,
            )
        except TemporarilyUnavailable:
            messages.error(request, _("The database refused before all was done. Try again to end the rest."))
            return HttpResponseRedirect(back)
        text = ngettext("%(count)d session was ended.", "%(count)d sessions were ended.", ended)
        self.log_change(request, client, text % {"count": ended})
        messages.success(request, text % {"count": ended})
        if select_sessions(SessionCriteria(client=client)).exists():
            messages.warning(
                request,
                _("There are more. Do it again, or run: manage.py revoke_tokens --client %(client_id)s")
                % {"client_id": client.client_id},
            )
        return HttpResponseRedirect(back)

    def switch_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask, and switch a client off or on."""
        client = self._client(request, object_id)
        self.require(self.has_change_permission(request, client))
        back = self.url("client_change", client.pk)
        on = not client.is_active
        wanted = {"on": True, "off": False}.get(request.POST.get("switch", ""))
        if not is_confirmed(request) or wanted is None:
            return self.confirm(
                request,
                Confirmation(
                    **_switch_texts(on=on),
                    question=_switch_question([client.name], on=on),
                    cancel_url=back,
                    # What was asked, not the opposite of what it has become in the meantime.
                    hidden=[("switch", "on" if on else "off")],
                    is_dangerous=not on,
                    trail=[(back, str(client))],
                ),
            )
        self._write_switch(request, [client.pk], on=wanted)
        return HttpResponseRedirect(back)

    # Secrets

    def save_model(self, request: HttpRequest, obj: Client, form: Any, change: bool) -> None:
        """Save what was changed, and draw the first secret of a new client that must have one."""
        if change:
            columns = {field.name for field in obj._meta.concrete_fields}
            obj.save(update_fields=columns.intersection(form.changed_data))
            return
        super().save_model(request, obj, form, change)
        if obj.must_have_secret:
            new_secret.keep(request, obj, add_first_secret(obj))

    def response_add(self, request: HttpRequest, obj: Client, post_url_continue: Any = None) -> HttpResponse:
        """Go on to the page that shows client_id and secret."""
        super().response_add(request, obj, post_url_continue)
        return HttpResponseRedirect(self.url("client_new_secret", obj.pk))

    @method_decorator([never_cache, sensitive_variables()])
    def new_secret_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show a new secret, the first time it is asked for, and what to paste where."""
        client = self.get_object(request, unquote(object_id))
        may_see = (
            self.has_add_permission(request)
            or self.has_change_permission(request)
            or self._may_replace_secret(request)
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
            snippets=[] if has_secret and secret is None else new_secret.snippets(client, secret),
            replace_url=(
                self.url("client_replace_secret", client.pk) if self._may_replace_secret(request) else None
            ),
            client_url=back if self.has_view_or_change_permission(request, client) else None,
        )

    @method_decorator([never_cache, sensitive_variables()])
    def replace_secret_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask how long the present secret shall work on, and draw a new one."""
        self.require(self._may_replace_secret(request))
        client = self._client(request, object_id)
        back = self.url("client_change", client.pk)
        form = OverlapForm(request.POST if is_confirmed(request) else None)
        if not form.is_valid():
            return self.confirm(request, self._replacing(client, form, back))
        try:
            secret = rotate_client_secret(
                client,
                overlap=form.chosen,
                actor=user_name(request.user),
                caller=Caller.of(request),
            )
        except TemporarilyUnavailable:
            messages.error(
                request,
                _(
                    "The database refused. It may have made a secret all the same, which nobody has seen: "
                    "do it again now."
                ),
            )
            return HttpResponseRedirect(back)
        new_secret.keep(request, client, secret)
        self.log_change(request, client, _("Given a new secret."))
        return HttpResponseRedirect(self.url("client_new_secret", client.pk))

    def _replacing(self, client: Client, form: OverlapForm, back: str) -> Confirmation:
        now = timezone.now()
        present = [secret for secret in client.secrets.order_by("-pk") if _is_live(secret, now)]
        kept = secret_to_keep(present)
        details = [
            _("The secret …%(last_four)s works until %(end)s already.")
            % {"last_four": secret.last_four, "end": _written(secret.expires_at)}
            for secret in present
            if secret is kept and secret.expires_at is not None
        ]
        details += [
            _("The secret …%(last_four)s ends now: there are never more than two.")
            % {"last_four": secret.last_four}
            for secret in present
            if secret is not kept
        ]
        if not present and not client.must_have_secret:
            details.append(_("It has had none so far. Installed copies without it are refused from then on."))
        return Confirmation(
            title=_("New secret"),
            question=_("Give %(client)s a new secret? It is shown once.") % {"client": client},
            details=details,
            form=form,
            button=_("Yes, make a new secret"),
            cancel_url=back,
            is_dangerous=False,
            trail=[(back, str(client))],
        )

    def _may_replace_secret(self, request: HttpRequest) -> bool:
        return request.user.has_perm("django_ciam_token.rotate_client_secret")

    # Deleting

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Sum up what goes along: naming each session would take a page as long as the table."""
        clients = list(objs)
        sessions = RefreshToken.objects.filter(client__in=clients).order_by()
        along = len(sessions.values_list("pk", flat=True)[: _MOST_DELETED_ALONG + 1])
        count = {
            str(self.opts.verbose_name_plural): len(clients),
            str(RefreshToken._meta.verbose_name_plural): along,
        }
        if along > _MOST_DELETED_ALONG:
            remedy = _(
                "Too many sessions to delete at once. Disable the client and end its sessions; when "
                "purge_tokens has removed them (ENDED_RETENTION), delete it."
            )
            return [str(client) for client in clients], count, set(), [remedy]
        # What models of the site refer to clients or sessions is Django's to judge.
        _listed, others, lacking, protected = super().get_deleted_objects(clients, request)
        ours = {str(model._meta.verbose_name_plural) for model in (Client, ClientSecret, RefreshToken)}
        count.update({name: number for name, number in others.items() if str(name) not in ours})
        lacking = {str(name) for name in lacking}
        lacking -= {str(model._meta.verbose_name) for model in (ClientSecret, RefreshToken)}
        if along and not request.user.has_perm("django_ciam_token.delete_refreshtoken"):
            lacking.add(str(RefreshToken._meta.verbose_name))
        return [str(client) for client in clients], count, lacking, protected


def _is_live(secret: ClientSecret, now: datetime) -> bool:
    return secret.expires_at is None or secret.expires_at > now


def _end_of_replaced(client: Client) -> datetime | None:
    """Return when the secret before the newest one ends."""
    now = timezone.now()
    ends = [secret.expires_at for secret in client.secrets.all() if secret.expires_at is not None]
    return max((end for end in ends if end > now), default=None)


def _written(instant: datetime) -> str:
    return date_format(
        timezone.localtime(instant) if timezone.is_aware(instant) else instant, "DATETIME_FORMAT"
    )


def _switch_question(names: list[str], *, on: bool) -> str:
    listed = ", ".join(names)
    return (_("Enable %(clients)s?") if on else _("Disable %(clients)s?")) % {"clients": listed}


def _switch_texts(*, on: bool) -> dict[str, Any]:
    if on:
        details = [_("Refresh tokens that have not expired work again.")]
        return {"title": _("Enable"), "button": _("Yes, enable"), "details": details}
    return {
        "title": _("Disable"),
        "button": _("Yes, disable"),
        "details": [
            _("No refresh token of it works until it is enabled again; the sessions themselves are kept."),
        ],
    }
