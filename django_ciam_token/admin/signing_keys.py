"""Signing keys: their life cycle, and rotation. No page shows a private key."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import NoReverseMatch, URLPattern, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from django_ciam_token.admin import cells, times
from django_ciam_token.admin.base import UNCERTAIN, Confirmation, ReadOnlyAdmin, is_confirmed
from django_ciam_token.admin.key_forms import (
    ImmediateRotationForm,
    PlannedRotationForm,
    RotationForm,
    about_planned,
    about_removal,
    about_unused,
)
from django_ciam_token.admin.key_timeline import picture
from django_ciam_token.caller import Caller
from django_ciam_token.conf import ciam_settings
from django_ciam_token.errors import TemporarilyUnavailable, WrongSecrets
from django_ciam_token.keys import key_set, signing_keys
from django_ciam_token.models import SigningKey, SigningKeyState
from django_ciam_token.sessions.user import user_name

_TIMES: Final = times.fields(SigningKey, "created_at", "active_at", "retired_at", "removed_at")


@admin.register(SigningKey)
class SigningKeyAdmin(ReadOnlyAdmin):
    """Signing keys. No page shows a private key."""

    list_display = ("short_kid", "algorithm", "state", "created", "active", "retired", "removed")
    search_fields = ("kid",)
    fields = (
        *("kid", "algorithm", "state", *_TIMES),
        "public_jwk",
    )
    readonly_fields = ("state", *_TIMES)
    change_list_template = "admin/django_ciam_token/signing_keys.html"

    def get_urls(self) -> list[URLPattern]:
        """Add the pages that rotate and remove keys."""
        return [
            self.route("rotate/", self.rotate_view, "signingkey_rotate"),
            self.route("plan-rotation/", self.plan_rotation_view, "signingkey_plan_rotation"),
            self.route("rotate-now/", self.rotate_now_view, "signingkey_rotate_now"),
            self.route("remove-retired/", self.remove_retired_view, "signingkey_remove_retired"),
            *super().get_urls(),
        ]

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: keys are rotated, and kept for the tokens that they signed."""
        return False

    @admin.display(description="kid", ordering="kid")
    def short_kid(self, key: SigningKey) -> str:
        """Return the key's id, of which the column shows the beginning."""
        return cells.clipped(key.kid)

    @admin.display(description=gettext_lazy("published"), ordering="created_at")
    def created(self, key: SigningKey) -> str:
        """Return when it was created."""
        return cells.ago(key.created_at)

    @admin.display(description=gettext_lazy("active"), ordering="active_at")
    def active(self, key: SigningKey) -> str:
        """Return since when it signs, or from when it will."""
        return cells.ago(key.active_at)

    @admin.display(description=gettext_lazy("retired"), ordering="retired_at")
    def retired(self, key: SigningKey) -> str:
        """Return when another key replaced it, or will."""
        return cells.ago(key.retired_at)

    @admin.display(description=gettext_lazy("removed"), ordering="removed_at")
    def removed(self, key: SigningKey) -> str:
        """Return when it left the JWK Set, or will."""
        return cells.ago(key.removed_at)

    @admin.display(description=gettext_lazy("state"))
    def state(self, key: SigningKey) -> str:
        """Return the current state."""
        state = key.state(timezone.now())
        return format_html('<span class="ciam-state ciam-state-{}">{}</span>', state.value, state.label)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the keys, their life cycle as a picture, and the actions for them."""
        now = timezone.now()
        keys = list(SigningKey.objects.defer("encrypted_private_key"))
        context = {
            "picture": picture(keys, now),
            "states": [state for state in SigningKeyState if state is not SigningKeyState.REMOVED],
            "has_active_key": key_set.active_key(keys, now) is not None,
            "old_key": signing_keys.overdue_key(keys, now),
            "tools": self._tools(request),
            "jwks_url": _jwks_url(),
        }
        return super().changelist_view(request, {**context, **(extra_context or {})})

    def _tools(self, request: HttpRequest) -> list[tuple[str, str]]:
        if not self.may(request, "rotate"):
            return []
        return [
            (self.url("signingkey_rotate"), _("Rotate gracefully")),
            (self.url("signingkey_plan_rotation"), _("Plan a rotation")),
            (self.url("signingkey_rotate_now"), _("Rotate now")),
            (self.url("signingkey_remove_retired"), _("Remove retired keys")),
        ]

    def rotate_view(self, request: HttpRequest) -> HttpResponse:
        """Ask, and publish a new key that will sign later."""
        details = [
            _("The new key starts to sign %(lead)s from now, when every verifier has had time to fetch it.")
            % {"lead": ciam_settings.SIGNING_KEY_LEAD},
            _("The current key stays in the JWK Set until the last token that it signed has expired."),
        ]
        return self._rotate(request, RotationForm, _("Rotate gracefully"), details, is_dangerous=False)

    def plan_rotation_view(self, request: HttpRequest) -> HttpResponse:
        """Ask from when, and publish a new key that will sign from then on."""
        details = [
            _("The new key is in the JWK Set from now on, and signs from the time that you choose."),
            _("The current key signs until then, and stays in the JWK Set for the tokens that it signed."),
        ]
        return self._rotate(request, PlannedRotationForm, _("Plan a rotation"), details, is_dangerous=False)

    def rotate_now_view(self, request: HttpRequest) -> HttpResponse:
        """Ask, and create a key that signs at once."""
        details = [
            _("Verifiers refuse tokens signed with the new key until they fetch the JWK Set again."),
            _("Only for emergencies. Otherwise rotate gracefully."),
        ]
        return self._rotate(request, ImmediateRotationForm, _("Rotate now"), details, is_dangerous=True)

    def _rotate(
        self,
        request: HttpRequest,
        form_class: type[RotationForm],
        title: str,
        details: list[str],
        *,
        is_dangerous: bool,
    ) -> HttpResponse:
        self.require(self.may(request, "rotate"))
        back, now = self.url("signingkey_changelist"), timezone.now()
        initial = {"algorithm": ciam_settings.SIGNING_ALGORITHM}
        form = form_class(request.POST if is_confirmed(request) else None, initial=initial)
        if not form.is_valid():
            question = Confirmation(
                title=title,
                question=_("Create a new signing key?"),
                details=[*details, *_about_present_keys(now, is_dangerous=is_dangerous)],
                form=form,
                button=_("Yes, rotate"),
                cancel_url=back,
                is_dangerous=is_dangerous,
            )
            return self.confirm(request, question)
        try:
            key = signing_keys.rotate(
                **form.how(),
                actor=user_name(request.user),
                caller=Caller.of(request),
            )
        except WrongSecrets:
            wrong = _("The active key is not usable with the site's secrets: no token can be signed.")
            messages.error(request, wrong)
            return HttpResponseRedirect(back)
        except TemporarilyUnavailable:
            messages.error(request, UNCERTAIN)
            return HttpResponseRedirect(back)
        self.log_addition(request, key, title)
        messages.success(request, _("Key %(kid)s was created.") % {"kid": key.kid})
        return HttpResponseRedirect(back)

    def remove_retired_view(self, request: HttpRequest) -> HttpResponse:
        """Ask, and remove the retired keys from the JWK Set."""
        self.require(self.may(request, "rotate"))
        back = self.url("signingkey_changelist")
        now = timezone.now()
        keys = SigningKey.objects.defer("encrypted_private_key")
        retired = [key for key in keys if key.state(now) is SigningKeyState.RETIRED]
        if not retired:
            messages.info(request, _("There are no retired keys."))
            return HttpResponseRedirect(back)
        named = request.POST.getlist("kid")
        if not is_confirmed(request) or not named:
            return self.confirm(
                request,
                Confirmation(
                    title=_("Remove retired keys"),
                    question=_("Remove these retired keys from the JWK Set now: %(kids)s?")
                    % {"kids": ", ".join(key.kid for key in retired)},
                    details=[
                        _("Tokens that they signed are then refused, even if they have not expired."),
                        *about_unused(retired, now),
                    ],
                    button=_("Yes, remove them"),
                    cancel_url=back,
                    # The keys in the question, not one that was retired meanwhile.
                    hidden=[("kid", key.kid) for key in retired],
                ),
            )
        try:
            removed = signing_keys.remove_retired(kids=named, now=now)
        except TemporarilyUnavailable:
            messages.error(request, UNCERTAIN)
            return HttpResponseRedirect(back)
        operator: Any = request.user.pk
        entries = SigningKey.objects.filter(pk__in=[key.pk for key in retired if key.kid in named])
        LogEntry.objects.log_actions(operator, entries, CHANGE, _("Removed from the JWK Set."))
        text = ngettext("%(count)d key was removed.", "%(count)d keys were removed.", removed)
        messages.success(request, text % {"count": removed})
        return HttpResponseRedirect(back)


def _about_present_keys(now: datetime, *, is_dangerous: bool) -> list[str]:
    keys = list(SigningKey.objects.defer("encrypted_private_key"))
    return [*about_planned(keys, now), *(about_removal(keys, now) if is_dangerous else [])]


def _jwks_url() -> str | None:
    try:
        return reverse("django_ciam_token:jwks")
    except NoReverseMatch:  # The endpoints are on another host of the site.
        return None
