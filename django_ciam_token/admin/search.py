"""What operators type into a search box: whose session, which application, which session, which address.

However large the tables are, each search reads a limited number of rows. A column with an index is searched
as a whole. Of a column without one only the newest rows are read, and the pages say so.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable
from functools import reduce
from ipaddress import ip_address
from operator import and_, or_
from typing import Any, Final

from django.contrib.auth import get_user_model
from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.db import connections
from django.db.models import CharField, Q, QuerySet
from django.utils.formats import number_format
from django.utils.translation import gettext as _

from django_ciam_token.admin import paging
from django_ciam_token.database.routing import write_database
from django_ciam_token.models import Client
from django_ciam_token.sessions.user import user_name

_MOST_MATCHES: Final = 100
FEWEST_DIGITS: Final = 8
"""From so many characters on, the beginning of an id is looked for: fewer would match by chance."""
_ID_DIGITS: Final = 32
_NAMES: Final = ("first_name", "last_name", "full_name", "name")
# Their collations, or LIKE itself, ignore case, and an index is used nevertheless.
_IGNORE_CASE: Final = frozenset({"mysql", "sqlite"})


def whole_id(term: str) -> uuid.UUID | None:
    """Return the session id that a term may be; a client_id that the product has drawn looks the same."""
    try:
        return uuid.UUID(term)
    except ValueError:
        return None


def id_range(term: str) -> tuple[uuid.UUID, uuid.UUID] | None:
    """Return the lowest id that begins like this, and the first beyond; None if no id begins like this."""
    digits = term.replace("-", "")
    if not FEWEST_DIGITS <= len(digits) < _ID_DIGITS or not re.fullmatch("[0-9a-fA-F]+", digits):
        return None
    first, step = int(digits.ljust(_ID_DIGITS, "0"), 16), 16 ** (_ID_DIGITS - len(digits))
    if first + step >= 1 << 128:
        return None  # Nothing is beyond it. Ids begin with the time, so that is in the year 10889.
    return uuid.UUID(int=first), uuid.UUID(int=first + step)


def address(term: str) -> str | None:
    """Return the IP address that a term is, as the database has it."""
    try:
        # Without the zone of a link-local address, which is not stored, and may be of any length.
        return str(ip_address(term.partition("%")[0]))
    except ValueError:
        return None


def matching_clients(term: str) -> QuerySet[Client]:
    """Return the clients with a client_id, its beginning, or a part of their name; at most a hundred."""
    by_id = Q(client_id=term) | Q(client_id=term.lower())
    if len(term) >= FEWEST_DIGITS:
        by_id |= Q(client_id__startswith=term) | Q(client_id__startswith=term.lower())
    return Client.objects.filter(by_id | Q(name__icontains=term)).order_by()[:_MOST_MATCHES]


def matching_users(term: str) -> list[Any]:
    """Return the keys of users whose user name, e-mail address or names begin like this; two queries."""
    model: Any = get_user_model()
    users = model._default_manager.order_by()
    indexed, others, names = _columns(model)
    spelled = [_begins(field, term, users.db) for field in indexed]
    found = _keys(users.filter(reduce(or_, spelled)))
    scanned = [_begins_unindexed(field, term) for field in others]
    # Each word may begin any of the names: some people write the family name first.
    words = [[_begins_unindexed(field, word) for field in names] for word in term.split()]
    if names:
        scanned.append(reduce(and_, (reduce(or_, conditions) for conditions in words)))
    if scanned:
        found += _keys(paging.newest(users).filter(reduce(or_, scanned)))
    return list(dict.fromkeys(found))


def users_with_keys(keys: Iterable[str]) -> dict[str, Any]:
    """Return the users that have these primary keys, by the key as text; one query."""
    model: Any = get_user_model()
    possible = [key for text in keys if (key := _key_of(model, text)) is not None]
    if not possible:
        return {}
    users = model._default_manager.using(write_database(model)).filter(pk__in=possible)
    return {str(user.pk): user for user in users}


def _key_of(model: Any, text: str) -> Any:
    """Return a primary key as the model has it; None if no key of it looks like that."""
    try:
        return model._meta.pk.clean(text, None)
    except (ValidationError, ValueError, TypeError):
        return None


def names_of_users(keys: Iterable[str]) -> dict[str, str]:
    """Return what people call the users that have these primary keys."""
    return {key: user_name(user) for key, user in users_with_keys(keys).items()}


def of_user_or_client(rows: QuerySet[Any], term: str, *, or_else: Q | None = None) -> QuerySet[Any]:
    """Find rows by their user or client, or by another condition.

    Args:
        rows: they have a foreign key ``user`` and one ``client``.
        term: what the operator has typed, not empty.
        or_else: rows that meet this are found as well.
    """
    # Two lists of keys rather than two joins: this way the database uses the index of each.
    user_keys, client_keys = matching_users(term), _keys(matching_clients(term))
    conditions = [Q(user__in=user_keys)] if user_keys else []
    if client_keys:
        conditions.append(Q(client__in=client_keys))
    if or_else is not None:
        conditions.append(or_else)
    return rows.filter(reduce(or_, conditions)) if conditions else rows.none()


def what_of_users_and_clients() -> list[str]:
    """Say which columns of users and clients are searched, for an empty result."""
    model: Any = get_user_model()
    indexed, others, names = _columns(model)
    said = [_("client_ids"), _("names of applications")]
    said += [_("%(field)s of users") % {"field": field.verbose_name} for field in indexed]
    window = {"number": number_format(paging.WINDOW, force_grouping=True)}
    said += [
        _("%(field)s of the newest %(number)s users") % {"field": field.verbose_name, **window}
        for field in (*others, *names)
    ]
    return said


def _columns(model: Any) -> tuple[list[Any], list[Any], list[Any]]:
    """Return the columns that are searched: those with an index, the e-mail address without, and names."""
    user_name = model._meta.get_field(model.USERNAME_FIELD)
    email = _text_field(model, getattr(model, "EMAIL_FIELD", None) or "email")
    emails = [] if email is None or email is user_name else [email]
    names = [field for name in _NAMES if (field := _text_field(model, name)) not in (None, user_name)]
    has_index = [field for field in emails if field.db_index or field.unique]
    return [user_name, *has_index], [field for field in emails if field not in has_index], names


def _text_field(model: Any, name: str) -> Any:
    try:
        field = model._meta.get_field(name)
    except FieldDoesNotExist:
        return None
    return field if isinstance(field, CharField) else None


def _begins(field: Any, text: str, using: str) -> Q:
    """Compare by an index: without regard to case if the database can, else in the usual spellings.

    Django advises a nondeterministic collation for names that do not differ in case, and PostgreSQL refuses
    LIKE with such a one. The column is then compared as a whole, by its own rules.
    """
    if getattr(field, "db_collation", None):
        return Q(**{field.name: text})
    if connections[using].vendor in _IGNORE_CASE:
        return Q(**{f"{field.name}__istartswith": text})
    spellings = dict.fromkeys([text, text.lower(), text.upper(), text.title()])
    return reduce(or_, (Q(**{f"{field.name}__startswith": spelling}) for spelling in spellings))


def _begins_unindexed(field: Any, text: str) -> Q:
    has_own_rules = getattr(field, "db_collation", None)
    return Q(**{field.name if has_own_rules else f"{field.name}__istartswith": text})


def _keys(rows: Any) -> list[Any]:
    limited: Iterable[Any] = rows.values_list("pk", flat=True)[:_MOST_MATCHES]
    return list(limited)
