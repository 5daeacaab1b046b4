"""What the admin pages share: addresses, permissions, and asking for confirmation before a change."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import django
from django import forms
from django.contrib import admin
from django.contrib.admin.exceptions import NotRegistered
from django.contrib.auth import get_permission_codename
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Model
from django.http import Http404, HttpRequest, HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timezone import get_current_timezone_name
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Any]
else:
    _ModelAdmin = admin.ModelAdmin

View = Callable[..., HttpResponseBase]

# Since Django 6.1 the breadcrumbs are a list, and its style sheet supports no other markup.
_BREADCRUMBS_ARE_A_LIST: Final = django.VERSION >= (6, 1)


@dataclass(frozen=True)
class Confirmation:
    """A question before a change. Its page contains only a POST form with a CSRF token."""

    title: str
    question: str
    button: str
    cancel_url: str
    details: Iterable[str] = ()
    """What else the operator should know, one sentence each."""
    form: forms.Form | None = None
    hidden: Iterable[tuple[str, str]] = ()
    """Names and values to send again with the answer."""
    is_dangerous: bool = True
    trail: Iterable[tuple[str, str]] = field(default_factory=list)
    """Breadcrumbs between the list and this page: addresses and titles."""


# Operators who may see a list must not be able to filter by these fields in its address.
_HIDDEN_FIELDS: Final = frozenset({"encrypted_private_key", "secret_digest", "nonce", "session_auth_hash"})
# Foreign keys. The name of each is also shown by a method ``<field>_name``.
_LINKED: Final = frozenset({"user", "client"})
UNCERTAIN: Final = gettext_lazy(
    "The database is temporarily unavailable. The change may have been made all the same: "
    "check before you try again."
)


def zone_in_words() -> str:
    """Name the time zone in which an operator reads and enters times."""
    return _("Time zone: %(zone)s.") % {"zone": get_current_timezone_name()}


class TokenAdmin(_ModelAdmin):
    """Addresses, permissions and confirmations."""

    change_list_template = "admin/django_ciam_token/list.html"
    show_facets = admin.ShowFacets.NEVER  # They would count the table once per filter.

    class Media:
        css = {"all": ("django_ciam_token/admin.css",)}
        js = ("django_ciam_token/admin.js",)

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest) -> bool:
        """Refuse filters by hidden fields: their results would reveal the values, letter by letter."""
        if _HIDDEN_FIELDS.intersection(lookup.split("__")):
            return False
        return super().lookup_allowed(lookup, value, request)

    def route(self, pattern: str, view: View, name: str) -> URLPattern:
        """Return a URL pattern for a view for staff, named ``<app>_<name>``."""
        # With ATOMIC_REQUESTS a failed statement could not be retried, nor a message about it stored.
        wrapped = transaction.non_atomic_requests(self.admin_site.admin_view(view))
        return path(pattern, wrapped, name=f"{self.opts.app_label}_{name}")

    def url(self, name: str, *args: Any) -> str:
        """Return the address of a page of this app in this admin site."""
        return reverse(f"admin:{self.opts.app_label}_{name}", args=args, current_app=self.admin_site.name)

    def may(self, request: HttpRequest, action: str, model: type[Model] | None = None) -> bool:
        """Tell whether the operator has a permission, such as ``revoke``, for a model."""
        opts = (model or self.model)._meta
        return request.user.has_perm(f"{opts.app_label}.{get_permission_codename(action, opts)}")

    def require(self, allowed: bool) -> None:
        """Refuse the request if something is not allowed.

        Raises:
            PermissionDenied: it is not.
        """
        if not allowed:
            raise PermissionDenied

    def get_or_404(self, request: HttpRequest, key: str) -> Any:
        """Return the row with a key.

        Raises:
            Http404: there is none.
        """
        row = self.get_object(request, key)
        if row is None:
            raise Http404
        return row

    def page(
        self,
        request: HttpRequest,
        template: str,
        *,
        title: str,
        trail: Iterable[tuple[str, str]] = (),
        **context: Any,
    ) -> TemplateResponse:
        """Render a page of this app in the admin."""
        request.current_app = self.admin_site.name
        shared = {
            **self.admin_site.each_context(request),
            "title": title,
            "opts": self.opts,
            "media": self.media,
            "trail": self._trail(request, trail),
            "breadcrumbs_are_a_list": _BREADCRUMBS_ARE_A_LIST,
        }
        return TemplateResponse(request, f"admin/django_ciam_token/{template}", {**shared, **context})

    def _trail(self, request: HttpRequest, trail: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
        """Return the breadcrumbs, without addresses for those who may not see these pages."""
        whole = [(self.url(f"{self.opts.model_name}_changelist"), self.plural_name()), *trail]
        may_see = self.has_view_or_change_permission(request)
        return [(address if may_see else "", name) for address, name in whole]

    def confirm(self, request: HttpRequest, confirmation: Confirmation) -> TemplateResponse:
        """Ask for confirmation before a change."""
        return self.page(
            request,
            "confirm.html",
            title=confirmation.title,
            trail=confirmation.trail,
            confirmation=confirmation,
        )

    def plural_name(self) -> str:
        """Return the title of the list."""
        name = str(self.opts.verbose_name_plural)
        return name[:1].upper() + name[1:]


class ReadOnlyAdmin(TokenAdmin):
    """Read-only pages: only the service creates and changes rows of these tables."""

    actions: Any = None

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Name users and clients without a link where the operator may not see their pages."""
        return [
            f"{name}_name" if name in _LINKED and not self._may_see(request, name) else name
            for name in super().get_fields(request, obj)
        ]

    @admin.display(description=gettext_lazy("client"))
    def client_name(self, row: Any) -> str:
        """Return the client's name."""
        return str(row.client)

    def _may_see(self, request: HttpRequest, field: str) -> bool:
        related: Any = self.opts.get_field(field).related_model
        try:
            return self.admin_site.get_model_admin(related).has_view_or_change_permission(request)
        except NotRegistered:
            return False

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Return False."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False."""
        return False


def is_confirmed(request: HttpRequest) -> bool:
    """Tell whether the operator has confirmed."""
    return request.method == "POST" and request.POST.get("confirmed") == "yes"


def copyable(text: str) -> SafeString:
    """Return a text followed by a button that copies it."""
    return format_html(
        '<span class="ciam-copyable"><code>{}</code>'
        '<button type="button" class="ciam-copy" data-ciam-copy="{}" data-ciam-copied="{}" hidden>{}'
        '<span class="ciam-hidden"> {}</span></button></span>',
        text,
        text,
        _("Copied"),
        _("Copy"),
        text,
    )
