"""Ending sessions by criteria, as ``manage.py revoke_sessions`` does: form, preview, confirmation."""

from __future__ import annotations

import shlex
from datetime import datetime
from typing import Any, Final

from django import forms
from django.contrib import messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth import get_user_model
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_ciam_token.admin import blast_radius, session_ending, times
from django_ciam_token.admin.base import Confirmation, TokenAdmin, is_confirmed, zone_in_words
from django_ciam_token.admin.event_filters import YEARS
from django_ciam_token.database.routing import write_database
from django_ciam_token.models import Client, RefreshToken
from django_ciam_token.sessions.criteria import SessionCriteria, select_sessions
from django_ciam_token.sessions.user import user_name

# A request should not take longer. The next one, or the command, ends the rest.
_SECONDS_PER_REQUEST: Final = 10.0


def _within_the_calendar(instant: datetime | None) -> datetime | None:
    # Other years are slips, and at the ends of the calendar arithmetic fails.
    if instant is not None and instant.year not in YEARS:
        raise ValidationError(forms.DateTimeField.default_error_messages["invalid"])
    return instant


def _when(label: Any) -> forms.DateTimeField:
    widget = forms.DateTimeInput(format="%Y-%m-%dT%H:%M", attrs={"type": "datetime-local"})
    return forms.DateTimeField(label=label, required=False, widget=widget)


class CriteriaForm(forms.Form):
    """Which sessions: those that meet everything that is filled in."""

    client = forms.CharField(label="client_id", required=False, max_length=100)
    user = forms.CharField(label=gettext_lazy("User name"), required=False, max_length=254)
    issued_before = _when(gettext_lazy("Started before"))
    idle_since = _when(gettext_lazy("Not refreshed since"))
    everything = forms.BooleanField(
        label=gettext_lazy("All sessions of everybody"),
        required=False,
        help_text=gettext_lazy("Only if nothing else is filled in."),
    )

    def clean_client(self) -> Client | None:
        """Return the client with this client_id."""
        wanted = self.cleaned_data["client"]
        if not wanted:
            return None
        found = Client.objects.using(write_database(Client)).filter(client_id=wanted).first()
        if found is None or found.client_id != wanted:
            raise ValidationError(_("There is no client with this client_id."))
        return found

    def clean_user(self) -> Any:
        """Return the user with this name."""
        wanted, model = self.cleaned_data["user"], get_user_model()
        if not wanted:
            return None
        try:
            return model._default_manager.db_manager(write_database(model)).get_by_natural_key(wanted)
        except model.DoesNotExist:
            raise ValidationError(_("There is no user with this name.")) from None

    def clean_issued_before(self) -> datetime | None:
        """Return the instant."""
        return _within_the_calendar(self.cleaned_data["issued_before"])

    def clean_idle_since(self) -> datetime | None:
        """Return the instant."""
        return _within_the_calendar(self.cleaned_data["idle_since"])

    def clean(self) -> dict[str, Any]:
        """Refuse to end everything by mistake."""
        cleaned: dict[str, Any] = super().clean() or {}
        if not self.errors and cleaned.get("everything") == self.criteria.is_narrow:
            raise ValidationError(_("Fill in what the sessions have in common, or choose all of them."))
        return cleaned

    @property
    def criteria(self) -> SessionCriteria:
        """The criteria, once the form is valid."""
        names = ("client", "user", "issued_before", "idle_since")
        return SessionCriteria(**{name: self.cleaned_data.get(name) for name in names})

    def sent(self) -> list[tuple[str, str]]:
        """Return what was filled in, to be sent again with the confirmation."""
        return [(name, self.data[name]) for name in self.fields if self.data.get(name)]


class UnderstoodForm(forms.Form):
    """The second look before many people have to sign in again."""

    understood = forms.BooleanField(label=gettext_lazy("I have read the numbers, and want to end these"))


class BulkEndingMixin(TokenAdmin):
    """Ends sessions by criteria."""

    def get_urls(self) -> list[URLPattern]:
        """Add the page."""
        return [
            self.route("end-by-criteria/", self.bulk_view, "refreshtoken_end_by_criteria"),
            *super().get_urls(),
        ]

    def bulk_url(self, request: HttpRequest) -> str | None:
        """Return the address of the page, for operators who may use it."""
        may = self.may(request, "bulk_revoke", RefreshToken)
        return self.url("refreshtoken_end_by_criteria") if may else None

    def bulk_view(self, request: HttpRequest) -> HttpResponse:
        """Ask for criteria, show what meets them, and end it."""
        self.require(self.may(request, "bulk_revoke", RefreshToken))
        back = self.url("refreshtoken_changelist")
        form = CriteriaForm(request.POST if is_confirmed(request) else None, initial=request.GET.dict())
        if not form.is_valid():
            return self.confirm(request, _asking(form, back))
        is_second = request.POST.get("step") == "end"
        understood = UnderstoodForm(request.POST if is_second else None)
        if not understood.is_valid():
            here = self.url("refreshtoken_end_by_criteria")
            return self.confirm(request, _preview(form, understood, here))
        self._end(request, form)
        return HttpResponseRedirect(back)

    def _end(self, request: HttpRequest, form: CriteriaForm) -> None:
        criteria, everything = form.criteria, form.cleaned_data["everything"]
        ended = session_ending.end(request, criteria, max_seconds=_SECONDS_PER_REQUEST, everything=everything)
        if ended is None:
            return
        operator: Any = request.user.pk
        LogEntry.objects.create(
            user_id=operator,
            content_type=ContentType.objects.get_for_model(RefreshToken),
            object_repr=", ".join(_written(criteria))[:200],
            action_flag=CHANGE,
            change_message=session_ending.count_in_words(ended),
        )
        if select_sessions(criteria).exists():
            left = blast_radius.about(criteria)[0]
            text = _("There are more sessions. %(left)s Repeat this, or run: %(command)s")
            messages.warning(request, text % {"left": left, "command": _command(criteria)})


def _asking(form: CriteriaForm, back: str) -> Confirmation:
    return Confirmation(
        title=_("End sessions by criteria"),
        question=_("Which sessions are to end? Those that meet everything that you fill in."),
        details=[
            _("Nothing ends yet: the next page says how many sessions these are, and whose."),
            zone_in_words(),
        ],
        form=form,
        button=_("Show what would end"),
        cancel_url=back,
        is_dangerous=False,
    )


def _preview(form: CriteriaForm, understood: UnderstoodForm, here: str) -> Confirmation:
    criteria = form.criteria
    return Confirmation(
        title=_("End sessions by criteria"),
        question=_("End all sessions with: %(criteria)s?") % {"criteria": ", ".join(_written(criteria))},
        details=[
            *blast_radius.about(criteria),
            *session_ending.consequences(),
            _("Many sessions take longer than one request: then it says how many are left."),
        ],
        form=understood,
        hidden=[("step", "end"), *form.sent()],
        button=_("Yes, end them all"),
        cancel_url=here,
    )


def _written(criteria: SessionCriteria) -> list[str]:
    """Return the criteria in words."""
    parts = []
    if criteria.client is not None:
        parts.append(f"{criteria.client.name} ({criteria.client.client_id})")
    if criteria.user is not None:
        parts.append(_("user %(user)s") % {"user": user_name(criteria.user)})
    if criteria.issued_before is not None:
        parts.append(_("started before %(date)s") % {"date": times.exact(criteria.issued_before)})
    if criteria.idle_since is not None:
        parts.append(_("not refreshed since %(date)s") % {"date": times.exact(criteria.idle_since)})
    return parts or [_("all sessions of everybody")]


def _command(criteria: SessionCriteria) -> str:
    """Return the command that goes on."""
    given = {
        "--client": criteria.client and criteria.client.client_id,
        "--user": criteria.user and user_name(criteria.user),
        "--issued-before": criteria.issued_before and _local(criteria.issued_before),
        "--idle-since": criteria.idle_since and _local(criteria.idle_since),
    }
    options = [f"{name} {shlex.quote(str(value))}" for name, value in given.items() if value]
    return " ".join(["manage.py revoke_sessions", *(options or ["--all"])])


def _local(at: datetime) -> str:
    return (timezone.localtime(at) if timezone.is_aware(at) else at).isoformat(timespec="minutes")
