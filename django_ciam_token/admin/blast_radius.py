"""What a confirmation says about how much an action reaches: how many sessions, whose, in which clients."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from django.utils import timezone
from django.utils.formats import number_format
from django.utils.translation import gettext as _

from django_ciam_token.errors import TemporarilyUnavailable
from django_ciam_token.models import Client
from django_ciam_token.monitoring.reach import Reach, reach_of
from django_ciam_token.sessions.criteria import SessionCriteria

_MOST_CLIENTS: Final = 10


def about(criteria: SessionCriteria, *, clients: Collection[int] | None = None) -> list[str]:
    """Return sentences about the live sessions that meet some criteria.

    Args:
        criteria: which sessions.
        clients: only those of these clients, given by their primary keys; of all if None.
    """
    try:
        reach = reach_of(criteria, now=timezone.now(), clients=clients)
    except TemporarilyUnavailable:
        # The question can be asked all the same: in an incident the answer may be needed more than this.
        return [_("How many sessions these are can't be counted now.")]
    return _described(reach, names_clients=criteria.client is None)


def _described(reach: Reach, *, names_clients: bool) -> list[str]:
    number = number_format(reach.sessions, force_grouping=True)
    text = _("about %(number)s") % {"number": number} if reach.is_estimate else number
    users = number_format(reach.users, force_grouping=True)
    who = _("at least %(number)s") % {"number": users} if reach.is_estimate else users
    lines = [_("Live sessions: %(sessions)s. Users: %(users)s.") % {"sessions": text, "users": who}]
    if names_clients and reach.clients:
        lines.append(_("Clients: %(clients)s.") % {"clients": _named(reach)})
    if reach.is_estimate:
        lines.append(_("Estimated from a sample: the table is too large to count it each time."))
    return lines


def _named(reach: Reach) -> str:
    most = sorted(reach.clients.items(), key=lambda item: (-item[1], item[0]))
    names = dict(
        Client.objects.filter(pk__in=[pk for pk, _live in most[:_MOST_CLIENTS]]).values_list("pk", "name")
    )
    named = [
        f"{names.get(pk, '?')} ({number_format(live, force_grouping=True)})"
        for pk, live in most[:_MOST_CLIENTS]
    ]
    return ", ".join([*named, "…"] if len(most) > _MOST_CLIENTS else named)
