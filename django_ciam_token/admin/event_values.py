"""The values of an event as links: to the other events that have the same, and to what they name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from django.contrib.admin import AdminSite
from django.http import HttpRequest, QueryDict
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from django_ciam_token.admin import search
from django_ciam_token.admin.session_ending import page_of_user
from django_ciam_token.models import Client, RefreshToken, SecurityEvent
from django_ciam_token.models.refresh_token import NOT_EXCHANGED
from django_ciam_token.sessions.user import user_name


@dataclass
class Shown:
    """What is shown of an event besides its own columns."""

    list_url: str
    query: QueryDict = field(default_factory=QueryDict)
    """The filters that the list has already; none on the page of one event."""
    is_whole: bool = False
    """Whether there is room for whole values: on the page of one event."""
    user: str = ""
    """The name of the user, if it is still there."""
    client: str = ""
    """The name of the client, if it is still there."""
    pages: dict[str, str] = field(default_factory=dict)
    """Addresses of the pages of ``client``, ``user`` and ``session`` that the operator may open."""

    def filtering(self, name: str, value: Any, text: Any, *, title: Any = "") -> SafeString | str:
        """Return a text as a link to the events that have the value."""
        if value in ("", None):
            return "-"
        query = self.query.copy()
        for other in ("p", "e", name):
            query.pop(other, None)
        query[name] = str(value)
        return format_html(
            '<a class="ciam-value" href="{}?{}" title="{}">{}</a>',
            self.list_url,
            query.urlencode(),
            title or value,
            text,
        )

    def opening(self, name: str) -> SafeString | str:
        """Return a link to what a value names; empty if there is none that the operator may open."""
        page = self.pages.get(name)
        text = {"client": _("Open the client"), "user": _("Open the user")}.get(name, _("Open the session"))
        return format_html(' <a class="ciam-open" href="{}">{}</a>', page, text) if page else ""


def attach(
    events: Sequence[SecurityEvent], request: HttpRequest, *, site: AdminSite, one: bool = False
) -> None:
    """Read what is shown of events besides their own columns; as many queries for one as for a hundred.

    Args:
        events: their attribute ``shown`` is set.
        request: of the operator.
        site: the admin site.
        one: whether it is for the page of one event, which also has links to what its values name.
    """
    list_url = _url("securityevent_changelist", site=site)
    users = search.users_with_keys({event.user_id for event in events if event.user_id})
    client_ids = {event.client_id for event in events if event.client_id}
    clients = {client.client_id: client for client in Client.objects.filter(client_id__in=client_ids)}
    for event in events:
        user, client = users.get(event.user_id), clients.get(event.client_id)
        shown = Shown(list_url, QueryDict() if one else request.GET, is_whole=one)
        shown.user = "" if user is None else user_name(user)
        shown.client = "" if client is None else client.name
        if one:
            shown.pages = _pages(event, request, user=user, client=client, site=site)
        event.shown = shown  # type: ignore[attr-defined]


def _pages(
    event: SecurityEvent, request: HttpRequest, *, user: Any, client: Client | None, site: AdminSite
) -> dict[str, str]:
    pages: dict[str, str] = {}
    if client is not None and _may_see(request, Client):
        pages["client"] = _url("client_change", client.pk, site=site)
    if user is not None and (page := page_of_user(request, user, site=site)):
        pages["user"] = page
    if event.session_id is not None and _may_see(request, RefreshToken):
        sessions = RefreshToken.objects.filter(pk=event.session_id).exclude(nonce=NOT_EXCHANGED)
        if sessions.exists():
            pages["session"] = _url("refreshtoken_change", event.session_id, site=site)
    return pages


def _may_see(request: HttpRequest, model: type[Any]) -> bool:
    opts = model._meta
    names = (f"{opts.app_label}.{action}_{opts.model_name}" for action in ("view", "change"))
    return any(request.user.has_perm(name) for name in names)


def _url(name: str, *args: Any, site: AdminSite) -> str:
    return reverse(f"admin:django_ciam_token_{name}", args=args, current_app=site.name)
