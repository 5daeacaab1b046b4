"""Inspecting a pasted token, and finding its session."""

from __future__ import annotations

from typing import Any, Final

from django import forms
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables

from django_ciam_token.admin import cells
from django_ciam_token.admin.base import TokenAdmin
from django_ciam_token.admin.session_ending import name_of_user
from django_ciam_token.admin.token_inspection import Inspection, inspect
from django_ciam_token.concealed import Concealed
from django_ciam_token.errors import TemporarilyUnavailable
from django_ciam_token.models.refresh_token import NOT_EXCHANGED
from django_ciam_token.sessions.state import state_of

_REFUSED: Final = gettext_lazy("The database is temporarily unavailable. Nothing was changed; try again.")


class TokenForm(forms.Form):
    """The token that is to be inspected. It is never written back into a page."""

    token = forms.CharField(
        label=gettext_lazy("Token"),
        max_length=8_192,
        help_text=gettext_lazy(
            "A refresh token, even an old one, an access token or an ID token. It is not stored or logged."
        ),
        widget=forms.PasswordInput(
            attrs={"autocomplete": "off", "spellcheck": "false", "class": "vTextField"}
        ),
    )

    @sensitive_variables()
    def clean_token(self) -> Inspection:
        """Return what is known of the token; the token itself is not kept."""
        try:
            return inspect(Concealed(self.cleaned_data["token"].strip()), now=timezone.now())
        except TemporarilyUnavailable:
            raise ValidationError(_REFUSED) from None


class FindByTokenMixin(TokenAdmin):
    """Says what a pasted token is, and finds its session."""

    def get_urls(self) -> list[URLPattern]:
        """Add the page that inspects a token."""
        return [
            self.route("find-by-token/", self.find_by_token_view, "refreshtoken_find_by_token"),
            *super().get_urls(),
        ]

    @method_decorator([never_cache, sensitive_post_parameters("token"), sensitive_variables()])
    def find_by_token_view(self, request: HttpRequest) -> HttpResponse:
        """Say what a pasted token is. By POST, so that no token gets into an access log; nothing is kept."""
        self.require(self.has_view_permission(request))
        form = TokenForm(request.POST if request.method == "POST" else None)
        found: Inspection | None = form.cleaned_data["token"] if form.is_valid() else None
        return self.page(
            request, "find_by_token.html", title=_("Inspect a token"), form=form, **self._shown(found)
        )

    def _shown(self, found: Inspection | None) -> dict[str, Any]:
        session = None if found is None else found.session
        # What is only a code so far has no page.
        if found is None or session is None or session.nonce == NOT_EXCHANGED:
            return {"found": found}
        return {
            "found": found,
            "session_url": self.url("refreshtoken_change", session.pk),
            "state": cells.state(session, state_of(session, timezone.now())),
            "owner": name_of_user(session),
        }
