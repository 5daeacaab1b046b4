"""A mixin for the admin page of a site's users."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from django.contrib import admin
from django.contrib.admin.utils import flatten_fieldsets, quote
from django.forms import Media
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_ciam_token.admin import user_sessions
from django_ciam_token.admin.base import TokenAdmin
from django_ciam_token.models import Consent, RefreshToken

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Any]
else:
    _ModelAdmin = object

_MOST: Final = 20
_MAY_END: Final = "_ciam_may_end_sessions"
_FIELDS: Final = ("ciam_sessions", "ciam_sign_out", "ciam_consents")


class SessionsOfUserMixin(_ModelAdmin):
    """Shows a user's sessions and consents, with links that end one session or all.

    Example::

        admin.site.unregister(User)

        @admin.register(User)
        class MyUserAdmin(SessionsOfUserMixin, UserAdmin): ...
    """

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Shorten what is listed before users are deleted: one may have thousands of sessions."""
        listed, count, lacking, protected = super().get_deleted_objects(objs, request)
        return _shortened(listed), count, lacking, protected

    @property
    def media(self) -> Any:
        """Return the style sheets and scripts of the page, and ours."""
        return super().media + Media(TokenAdmin.Media)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Add the fields that show sessions."""
        return (*super().get_readonly_fields(request, obj), *_FIELDS)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Add the sessions at the top of an existing user's page, if the operator may see them."""
        # An admin without fieldsets shows all read-only fields; one with fieldsets may already include these.
        fieldsets: Any = super().get_fieldsets(request, obj)
        allowed = self._fields_of_sessions(request, obj)
        fieldsets = [(title, _without(options, set(_FIELDS) - set(allowed))) for title, options in fieldsets]
        shown = flatten_fieldsets(fieldsets)
        fields = [name for name in allowed if name not in shown]
        # Not the word "Sessions": django.contrib.sessions has it too, and does not translate it into German.
        title = capfirst(str(RefreshToken._meta.verbose_name_plural))
        return [(title, {"fields": fields}), *fieldsets] if fields else fieldsets

    def _fields_of_sessions(self, request: HttpRequest, user: Any) -> tuple[str, ...]:
        if user is None:
            return ()
        may_view = request.user.has_perm("django_ciam_token.view_refreshtoken")
        allowed = {
            "ciam_sessions": may_view,
            "ciam_sign_out": may_view and request.user.has_perm("django_ciam_token.revoke_refreshtoken"),
            "ciam_consents": request.user.has_perm("django_ciam_token.view_consent"),
        }
        # Read-only fields are not given the request.
        setattr(user, _MAY_END, allowed["ciam_sign_out"])
        return tuple(name for name in _FIELDS if allowed[name])

    @admin.display(description=gettext_lazy("sessions and devices"))
    def ciam_sessions(self, user: Any) -> SafeString:
        """Return the user's sessions as a table, each with a link to its page and one that ends it."""
        may_end = getattr(user, _MAY_END, False)
        return user_sessions.table(user, site=self.admin_site.name, may_end=may_end)

    @admin.display(description=gettext_lazy("sign out"))
    def ciam_sign_out(self, user: Any) -> SafeString:
        """Return a link to the page that ends them all after confirmation."""
        page = self._url("refreshtoken_sign_out", quote(user.pk))
        return format_html('<a href="{}">{}</a>', page, _("Sign out everywhere"))

    @admin.display(description=gettext_lazy("consents"))
    def ciam_consents(self, user: Any) -> str:
        """Return what the user allowed applications of other people, each with a link to its page."""
        consents = Consent.objects.filter(user=user).select_related("client").order_by("-pk")[:_MOST]
        lines = ((self._url("consent_change", consent.pk), str(consent)) for consent in consents)
        listed = format_html_join("", '<li><a href="{}">{}</a></li>', lines)
        return format_html('<ul class="ciam-list">{}</ul>', listed) if listed else _("None.")

    def _url(self, name: str, *args: Any) -> str:
        return reverse(f"admin:django_ciam_token_{name}", args=args, current_app=self.admin_site.name)


def _shortened(nested: list[Any]) -> list[Any]:
    """Cut every list within Django's nested list of objects to a length that can be read."""
    kept = [_shortened(item) if isinstance(item, list) else item for item in nested[:_MOST]]
    rest = sum(not isinstance(item, list) for item in nested[_MOST:])
    return [*kept, _("… and %(count)d more") % {"count": rest}] if rest else kept


def _without(options: dict[str, Any], names: set[str]) -> dict[str, Any]:
    """Remove fields from a fieldset. Several fields may share a line."""
    kept: list[Any] = []
    for field in options["fields"]:
        line = field if isinstance(field, (list, tuple)) else [field]
        if left := [name for name in line if name not in names]:
            kept.append(left if line is field else field)
    return {**options, "fields": kept}
