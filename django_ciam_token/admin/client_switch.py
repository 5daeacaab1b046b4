"""Disabling and enabling clients, in the list and on the page of one."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.admin.utils import unquote
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_ciam_token.admin import blast_radius, paging
from django_ciam_token.admin.base import UNCERTAIN, Confirmation, TokenAdmin, is_confirmed
from django_ciam_token.caller import Caller
from django_ciam_token.clients.changes import report_switch
from django_ciam_token.database.retry import retry
from django_ciam_token.database.routing import write_database
from django_ciam_token.errors import TemporarilyUnavailable
from django_ciam_token.models import Client
from django_ciam_token.sessions.criteria import SessionCriteria
from django_ciam_token.sessions.user import user_name


class ClientSwitchMixin(TokenAdmin):
    """Disables and enables clients."""

    actions: Any = ("disable", "enable")

    def get_urls(self) -> list[URLPattern]:
        """Add the page that disables or enables a client."""
        return [
            self.route("<path:object_id>/switch/", self.switch_view, "client_switch"),
            *super().get_urls(),
        ]

    @admin.action(description=gettext_lazy("Disable selected clients"), permissions=["change"])
    def disable(self, request: HttpRequest, queryset: QuerySet[Client]) -> HttpResponse | None:
        """Ask, and disable clients."""
        return self._switch_selected(request, queryset, on=False)

    @admin.action(description=gettext_lazy("Enable selected clients"), permissions=["change"])
    def enable(self, request: HttpRequest, queryset: QuerySet[Client]) -> HttpResponse | None:
        """Ask, and enable clients."""
        return self._switch_selected(request, queryset, on=True)

    def _switch_selected(
        self, request: HttpRequest, queryset: QuerySet[Client], *, on: bool
    ) -> HttpResponse | None:
        most = paging.most_selected()
        names = list(queryset.values_list("pk", "name")[: most + 1])
        details = paging.cut_off(names, most)
        if not is_confirmed(request):
            action = "enable" if on else "disable"
            hidden = [("action", action), *(("_selected_action", str(pk)) for pk, _name in names)]
            question = _question([name for _pk, name in names], on=on)
            texts = _texts([pk for pk, _name in names], on=on)
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
        _switch(request, [pk for pk, _name in names], on=on)
        return None

    def switch_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask, and disable or enable a client."""
        client = self.get_or_404(request, unquote(object_id))
        self.require(self.has_change_permission(request, client))
        back = self.url("client_change", client.pk)
        on = not client.is_active
        wanted = {"on": True, "off": False}.get(request.POST.get("switch", ""))
        if not is_confirmed(request) or wanted is None:
            return self.confirm(
                request,
                Confirmation(
                    **_texts([client.pk], on=on),
                    question=_question([client.name], on=on),
                    cancel_url=back,
                    # The answer does what was asked, even if somebody else has switched the client meanwhile.
                    hidden=[("switch", "on" if on else "off")],
                    is_dangerous=not on,
                    trail=[(back, str(client))],
                ),
            )
        _switch(request, [client.pk], on=wanted)
        return HttpResponseRedirect(back)


def _switch(request: HttpRequest, clients: list[int], *, on: bool) -> None:
    """Disable or enable clients, log each that changed, and tell the operator."""
    message = _("Enabled.") if on else _("Disabled.")
    operator: Any = request.user.pk
    using = write_database(Client)
    changed = Client.objects.using(using).filter(pk__in=clients, is_active=not on)
    # Also those of an attempt whose COMMIT succeeded although the database did not confirm it.
    switched: dict[int, Client] = {}

    def write(_: int) -> None:
        with transaction.atomic(using=using):
            found = {client.pk: client for client in changed}
            changed.update(is_active=on)
            if found:
                entries = Client.objects.using(using).filter(pk__in=found)
                LogEntry.objects.log_actions(operator, entries, CHANGE, message)
            switched.update(found)

    try:
        retry(write, using=using)
    except TemporarilyUnavailable:
        messages.error(request, UNCERTAIN)
        return
    for client in switched.values():
        client.is_active = on
        report_switch(client, actor=user_name(request.user), caller=Caller.of(request))
    messages.success(request, message)


def _question(names: list[str], *, on: bool) -> str:
    listed = ", ".join(names)
    return (_("Enable %(clients)s?") if on else _("Disable %(clients)s?")) % {"clients": listed}


def _texts(clients: list[int], *, on: bool) -> dict[str, Any]:
    if on:
        details = [_("Refresh tokens that have not expired work again.")]
        return {"title": _("Enable"), "button": _("Yes, enable"), "details": details}
    return {
        "title": _("Disable"),
        "button": _("Yes, disable"),
        "details": [
            _("Refresh tokens don't work while their client is disabled. The sessions themselves are kept."),
            *blast_radius.about(SessionCriteria(), clients=clients),
        ],
    }
