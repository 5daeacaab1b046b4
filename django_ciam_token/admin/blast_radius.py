"""What a confirmation says about how much an action reaches: how many sessions, whose, in which clients."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from django.utils import timezone
from django.utils.formats import number_format
from django.utils.translation import gettext as _

from django_ciam_token.database.retry import retry
from django_ciam_token.database.routing import write_database
from django_ciam_token.errors import TemporarilyUnavailable
from django_ciam_token.models import Client, RefreshToken
from django_ciam_token.monitoring.figures import session_figures
from django_ciam_token.monitoring.reach import Reach, reach_of
from django_ciam_token.sessions.criteria import SessionCriteria

_MOST_CLIENTS: Final = 10


def about(criteria: SessionCriteria) -> list[str]:
    """Return sentences about the live sessions that meet some criteria."""
    try:
        reach = reach_of(criteria, now=timezone.now())
    except TemporarilyUnavailable:
        return [_cannot_be_counted()]
    return described(reach, clients=criteria.client is None)


def described(reach: Reach, *, clients: bool = True) -> list[str]:
    """Return sentences about a number of sessions.

    Args:
        reach: what was counted.
        clients: whether to name the clients.
    """
    number = number_format(reach.sessions, force_grouping=True)
    text = _("about %(number)s") % {"number": number} if reach.is_estimate else number
    users = number_format(reach.users, force_grouping=True)
    who = _("at least %(number)s") % {"number": users} if reach.is_estimate else users
    lines = [_("Live sessions: %(sessions)s. Users: %(users)s.") % {"sessions": text, "users": who}]
    return lines + _more(reach, clients=clients)


def about_clients(clients: Collection[int]) -> list[str]:
    """Return sentences about the live sessions of several clients, given by their primary keys."""
    try:
        figures = retry(
            lambda _: session_figures(now=timezone.now(), clients=clients), using=write_database(RefreshToken)
        )
    except TemporarilyUnavailable:
        return [_cannot_be_counted()]
    number = number_format(figures.live_total, force_grouping=True)
    text = _("about %(number)s") % {"number": number} if figures.is_estimate else number
    live = {client: number for client, number in figures.live.items() if number}
    reach = Reach(figures.live_total, 0, live, is_estimate=figures.is_estimate)
    return [_("Live sessions: %(sessions)s.") % {"sessions": text}, *_more(reach, clients=True)]


def _cannot_be_counted() -> str:
    # The question can be asked all the same: in an incident the answer may be needed more than this.
    return _("How many sessions these are can't be counted now.")


def _more(reach: Reach, *, clients: bool) -> list[str]:
    lines = []
    if clients and reach.clients:
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
