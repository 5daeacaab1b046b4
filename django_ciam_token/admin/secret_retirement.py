"""Retiring one chosen secret of a client that has two."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.admin.utils import unquote
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_ciam_token.admin import times
from django_ciam_token.admin.base import UNCERTAIN, Confirmation, TokenAdmin, is_confirmed
from django_ciam_token.caller import Caller
from django_ciam_token.clients.secret_retirement import (
    OnlySecret,
    ending_secret,
    live_secrets,
    retire_client_secret,
)
from django_ciam_token.errors import TemporarilyUnavailable
from django_ciam_token.models import Client, ClientSecret
from django_ciam_token.sessions.user import user_name


class SecretChoiceForm(forms.Form):
    """Which of the live secrets ends."""

    secret = forms.ChoiceField(label=gettext_lazy("Secret to retire"), widget=forms.RadioSelect)

    def __init__(self, *args: Any, live: list[ClientSecret], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choice: Any = self.fields["secret"]
        # None is chosen beforehand: the operator must look at them.
        choice.choices = [(str(secret.pk), _described(secret)) for secret in live]


class SecretRetirementMixin(TokenAdmin):
    """Ends one of two secrets."""

    def get_urls(self) -> list[URLPattern]:
        """Add the page."""
        return [
            self.route("<path:object_id>/retire-secret/", self.retire_secret_view, "client_retire_secret"),
            *super().get_urls(),
        ]

    def retirement_tools(self, request: HttpRequest, client: Client) -> list[tuple[str, str]]:
        """Return the button, if there are two secrets to choose from and the operator may."""
        if not _may(request) or len(live_secrets(client)) < 2:
            return []
        return [(self.url("client_retire_secret", client.pk), _("Retire a secret"))]

    def retire_secret_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask which secret, and end it."""
        self.require(_may(request))
        client = self.get_or_404(request, unquote(object_id))
        back = self.url("client_change", client.pk)
        live = live_secrets(client)
        if len(live) < 2:
            messages.info(request, _("The client has only one live secret. Replace it instead."))
            return HttpResponseRedirect(back)
        form = SecretChoiceForm(request.POST if is_confirmed(request) else None, live=live)
        if not form.is_valid():
            return self.confirm(request, _retiring(client, form, back))
        self._retire(request, client, int(form.cleaned_data["secret"]))
        return HttpResponseRedirect(back)

    def _retire(self, request: HttpRequest, client: Client, pk: int) -> None:
        actor, caller = user_name(request.user), Caller.of(request)
        try:
            retired = retire_client_secret(client, pk, actor=actor, caller=caller)
        except OnlySecret:
            messages.error(request, _("Nothing was changed: it is the only live secret by now."))
        except TemporarilyUnavailable:
            messages.error(request, UNCERTAIN)
        else:
            if retired is None:
                messages.info(request, _("The secret had already ended."))
                return
            text = _("The secret …%(last_four)s was retired.") % {"last_four": retired.last_four}
            self.log_change(request, client, text)
            messages.success(request, text)
            left = ending_secret(client)
            if left is not None:
                words = {"last_four": left.last_four, "instant": times.exact(left.expires_at)}
                messages.warning(
                    request,
                    _("The remaining secret …%(last_four)s ends on %(instant)s. Make a new one before that.")
                    % words,
                )


def _may(request: HttpRequest) -> bool:
    return request.user.has_perm("django_ciam_token.rotate_client_secret")


def _retiring(client: Client, form: SecretChoiceForm, back: str) -> Confirmation:
    return Confirmation(
        title=_("Retire a secret"),
        question=_("Which secret of %(client)s is to end now?") % {"client": client},
        details=[
            _("Every request that sends this secret is refused from now on. It can't be brought back."),
            _("Requests with the other secret, and all sessions, are not affected."),
            _("“Last used” is exact to an hour: a secret that was used today is probably still in use."),
        ],
        form=form,
        button=_("Yes, retire it"),
        cancel_url=back,
        trail=[(back, str(client))],
    )


def _described(secret: ClientSecret) -> str:
    parts = [
        f"…{secret.last_four}",
        _("created %(date)s") % {"date": times.exact(secret.created_at)},
        _("never used")
        if secret.last_used_at is None
        else _("last used %(date)s") % {"date": times.exact(secret.last_used_at)},
    ]
    if secret.expires_at is not None:
        parts.append(_("ends %(date)s") % {"date": times.exact(secret.expires_at)})
    return ", ".join(parts)
