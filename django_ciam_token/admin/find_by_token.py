"""Finding the session of a pasted token."""

from __future__ import annotations

import uuid
from typing import Final

from django import forms
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables

from django_ciam_token.admin.base import TokenAdmin
from django_ciam_token.concealed import Concealed
from django_ciam_token.errors import InvalidToken, TemporarilyUnavailable
from django_ciam_token.models import RefreshToken
from django_ciam_token.tokens.recognition import session_of_token

_NO_TOKEN: Final = gettext_lazy("That is neither a refresh token nor an access token of this service.")
_NO_SESSION: Final = gettext_lazy("That access token does not belong to a session. It expires by itself.")
_GONE: Final = gettext_lazy("That token is genuine, but its session is no longer stored.")
_REFUSED: Final = gettext_lazy("The database is temporarily unavailable. Nothing was changed; try again.")


class TokenForm(forms.Form):
    """The token whose session is wanted. It is never written back into a page."""

    token = forms.CharField(
        label=gettext_lazy("Token"),
        max_length=8_192,
        help_text=gettext_lazy(
            "A refresh token, even an old one, or an access token. It is not stored or logged."
        ),
        widget=forms.PasswordInput(
            attrs={"autocomplete": "off", "spellcheck": "false", "class": "vTextField"}
        ),
    )

    @sensitive_variables()
    def clean_token(self) -> uuid.UUID:
        """Return the id of the session."""
        try:
            session_id = session_of_token(Concealed(self.cleaned_data["token"].strip()))
        except InvalidToken:
            raise ValidationError(_NO_TOKEN) from None
        except TemporarilyUnavailable:
            raise ValidationError(_REFUSED) from None
        if session_id is None:
            raise ValidationError(_NO_SESSION)
        if not RefreshToken.objects.filter(pk=session_id).exists():
            raise ValidationError(_GONE)
        return session_id


class FindByTokenMixin(TokenAdmin):
    """Finds the session of a token."""

    def get_urls(self) -> list[URLPattern]:
        """Add the page that finds a session by its token."""
        return [
            self.route("find-by-token/", self.find_by_token_view, "refreshtoken_find_by_token"),
            *super().get_urls(),
        ]

    @method_decorator([never_cache, sensitive_post_parameters("token"), sensitive_variables()])
    def find_by_token_view(self, request: HttpRequest) -> HttpResponse:
        """Redirect from a pasted token to its session. By POST, so that no token gets into an access log."""
        self.require(self.has_view_permission(request))
        form = TokenForm(request.POST or None)
        if form.is_valid():
            return HttpResponseRedirect(self.url("refreshtoken_change", form.cleaned_data["token"]))
        return self.page(request, "find_by_token.html", title=_("Find by token"), form=form)
