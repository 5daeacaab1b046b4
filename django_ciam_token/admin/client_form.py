"""The forms for clients: scopes as checkboxes, lifetimes for each type, the overlap of two secrets."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from django import forms
from django.utils.duration import duration_string
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_ciam_token.admin.client_hints import help_with_hints
from django_ciam_token.clients.changes import LISTS
from django_ciam_token.clients.registration import lifetimes_of_type
from django_ciam_token.conf import ciam_settings
from django_ciam_token.models import Client
from django_ciam_token.models.redirect_uris import PATTERNS
from django_ciam_token.models.validators import validate_scope

if TYPE_CHECKING:
    _ModelForm = forms.ModelForm[Client]
else:
    _ModelForm = forms.ModelForm

_LIFETIMES: Final = {
    "access_token_lifetime": "ACCESS_TOKEN_LIFETIME",
    "id_token_lifetime": "ID_TOKEN_LIFETIME",
    "refresh_token_lifetime": "REFRESH_TOKEN_LIFETIME",
    "session_lifetime": "SESSION_LIFETIME",
    "refresh_token_grace_period": "REFRESH_TOKEN_GRACE_PERIOD",
}


class ClientForm(_ModelForm):
    """A new or an existing client."""

    scope = forms.MultipleChoiceField(
        label=gettext_lazy("Allowed scopes"),
        widget=forms.CheckboxSelectMultiple,
        help_text=gettext_lazy(
            "If you remove a scope, sessions that were granted it can no longer be refreshed."
        ),
    )

    class Meta:
        model = Client
        fields = "__all__"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        known = ciam_settings.SCOPES
        # A scope that the settings no longer define stays visible, so that it can be removed.
        choices = {name: f"{name}: {_(text)}" for name, text in known.items()}
        choices |= {name: name for name in self.instance.scopes if name not in choices}
        scope: Any = self.fields["scope"]
        scope.choices = list(choices.items())
        self.initial["scope"] = list(self.instance.scopes)
        if self.instance.pk is not None:
            # Compare with what the page showed, not with the present row: then only what the operator changed
            # counts as a change, and what somebody else has changed meanwhile is kept.
            for field in self.fields.values():
                field.show_hidden_initial = True
        for name, setting in _LIFETIMES.items():
            if name in self.fields:
                default = getattr(ciam_settings, setting)
                text = _("no limit") if default is None else duration_string(default)
                self.fields[name].widget.attrs["placeholder"] = _("site default: %(value)s") % {"value": text}
        for name in LISTS:
            if name in self.fields:
                self._help_with_lines(name)

    def _help_with_lines(self, name: str) -> None:
        """Say what each type of application enters, and let the page check the lines while one types."""
        field, known_type = (
            self.fields[name],
            None if self.instance.pk is None else self.instance.application_type,
        )
        field.help_text = help_with_hints(name, str(field.help_text), known_type)
        field.widget.attrs["rows"] = 3
        if name != "allowed_origins":
            patterns = PATTERNS if known_type is None else {"": PATTERNS[known_type]}
            field.widget.attrs["data-ciam-lines"] = json.dumps(patterns)
            field.widget.attrs["data-ciam-wrong"] = _("This application can't have:")

    def clean_scope(self) -> str:
        """Return the scope names as one string."""
        scope = " ".join(self.cleaned_data["scope"])
        validate_scope(scope)
        return scope

    def clean(self) -> dict[str, Any]:
        """Write lists one value a line; give a new client its type's lifetimes where they were left empty."""
        super().clean()
        cleaned: dict[str, Any] = self.cleaned_data
        for name in cleaned.keys() & set(LISTS):
            cleaned[name] = "\n".join(cleaned[name].split())
        if self.instance.pk is None:
            for name, lifetime in lifetimes_of_type(cleaned.get("application_type", "")).items():
                if cleaned.get(name) is None:
                    cleaned[name] = lifetime
        return cleaned


class OverlapForm(forms.Form):
    """How long the current secret stays valid."""

    overlap = forms.ChoiceField(label=gettext_lazy("How long the current secret stays valid"))

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        overlaps = {
            timedelta(0): _("not at all: it ends now"),
            timedelta(hours=1): _("an hour"),
            timedelta(days=1): _("a day"),
            timedelta(days=7): _("7 days"),
            timedelta(days=30): _("30 days"),
        }
        usual = ciam_settings.CLIENT_SECRET_OVERLAP
        overlaps.setdefault(usual, duration_string(usual))
        overlap: Any = self.fields["overlap"]
        overlap.choices = [(str(int(span.total_seconds())), text) for span, text in sorted(overlaps.items())]
        overlap.initial = str(int(usual.total_seconds()))

    @property
    def chosen(self) -> timedelta:
        """The choice, once the form is valid."""
        return timedelta(seconds=int(self.cleaned_data["overlap"]))
