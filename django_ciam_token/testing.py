"""Helpers for the tests of a site: access tokens, forms, and time.

They work with any test runner, and with the test clients and request factories of Django and of Django REST
framework.
"""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from datetime import timezone as datetime_timezone
from typing import Any, Final, Protocol, TypeVar
from unittest import mock
from urllib.parse import urlencode

from django.contrib.auth.base_user import AbstractBaseUser
from django.db.models.sql.compiler import SQLCompiler
from django.test import AsyncRequestFactory
from django.utils import timezone

from django_ciam_token import scopes
from django_ciam_token.api import issue_tokens
from django_ciam_token.conf import ciam_settings
from django_ciam_token.database import compiled
from django_ciam_token.database.clock import DatabaseNow
from django_ciam_token.database.routing import write_database
from django_ciam_token.keys import key_set
from django_ciam_token.models import ApplicationType, Client, SigningKey
from django_ciam_token.models.validators import validate_scope
from django_ciam_token.resource_server import LiveAccessToken
from django_ciam_token.tokens import claims
from django_ciam_token.tokens.access_tokens import VerifiedAccessToken
from django_ciam_token.views.form import StrictFormParser

__all__ = [
    "access_token",
    "authenticate",
    "database_follows_clock",
    "live_token",
    "post_form",
    "time_travel",
]

T_co = TypeVar("T_co", covariant=True)

_NONE: Final = timedelta(0)


class Sender(Protocol):
    """A test client or request factory whose requests carry default headers."""

    @property
    def defaults(self) -> Any:
        """What every request carries."""


class Poster(Protocol[T_co]):
    """A test client or request factory that can POST."""

    def post(self, *args: Any, **kwargs: Any) -> T_co:
        """Send a request, or make one."""


def access_token(
    user: AbstractBaseUser | None = None, *, scope: str, client: Client | None = None, age: timedelta = _NONE
) -> str:
    """Return an access token as the token endpoint issues it, in a session of its own.

    Args:
        user: who signed in; None for a machine-to-machine client, which acts for itself.
        scope: names separated by spaces.
        client: whom it is issued to; without one a client of these helpers, which may have this scope and is
            made when it is first needed.
        age: how long ago it was issued.

    Raises:
        django.core.exceptions.ValidationError: the setting ``SCOPES`` does not name the scope.
        django_ciam_token.errors.OAuthError: as `django_ciam_token.api.issue_tokens`.
    """
    client = client or _saved_client(user, scope)
    with ExitStack() as past:
        if age:
            past.enter_context(time_travel(-age))
        return str(issue_tokens(client=client, user=user, scope=_checked(scope))["access_token"])


def authenticate(
    sender: Sender,
    user: AbstractBaseUser | None = None,
    *,
    scope: str,
    client: Client | None = None,
    age: timedelta = _NONE,
) -> None:
    """Let every further request of a test client or request factory carry an access token.

    The token is a real one, so views refuse it for the same reasons as in production. A client of Django REST
    framework drops it with ``credentials()`` or ``logout()``.

    Args:
        sender: a client or request factory of Django or Django REST framework.
        user: as `access_token`, like all that follow.
        scope: names separated by spaces.
        client: whom the token is issued to.
        age: how long ago it was issued.

    Raises:
        django.core.exceptions.ValidationError: as `access_token`.
        django_ciam_token.errors.OAuthError: as `access_token`.
    """
    header = f"Bearer {access_token(user, scope=scope, client=client, age=age)}"
    if hasattr(sender, "credentials"):
        sender.credentials(HTTP_AUTHORIZATION=header)
    else:
        name = "AUTHORIZATION" if isinstance(sender, AsyncRequestFactory) else "HTTP_AUTHORIZATION"
        sender.defaults[name] = header


def live_token(
    user: AbstractBaseUser | None = None, *, scope: str, client: Client | None = None, age: timedelta = _NONE
) -> LiveAccessToken:
    """Return what ``request.auth`` is in a view, made without a query and without a signing key.

    For ``force_authenticate(user, token=live_token(user, scope="orders:read"))`` of Django REST framework. A
    machine needs both: ``force_authenticate(MachineUser(live.client), token=live)``.

    Args:
        user: who signed in, saved or not, with a primary key; None for a machine-to-machine client.
        scope: names separated by spaces.
        client: whom it is issued to; without one a client that is not saved and may have this scope.
        age: how long ago it was issued. Nothing refuses it: it has been accepted already.

    Raises:
        django.core.exceptions.ValidationError: the setting ``SCOPES`` does not name the scope.
        django_ciam_token.errors.InvalidScope: the client may not have the scope.
    """
    issued_at = timezone.now() - age
    client = client or _new_client(user, scope)
    session_id = uuid.uuid4()
    subject = claims.Subject(
        client=client,
        user=user,
        scope=scopes.narrow(client.scopes, scope),
        session_id=session_id,
        auth_time=None if user is None else issued_at,
    )
    payload = claims.access_token_claims(subject, iat=math.floor(issued_at.timestamp()))
    verified = VerifiedAccessToken(
        claims=payload,
        client_id=client.client_id,
        jti=uuid.UUID(payload["jti"]),
        session_id=session_id,
        scope=subject.scope,
    )
    return LiveAccessToken(verified=verified, client=client, user=user)


def post_form(poster: Poster[T_co], url: str, data: Mapping[str, str | int], **extra: Any) -> T_co:
    """POST a form as OAuth prescribes it (RFC 6749 appendix B); test clients send multipart by default.

    Args:
        poster: a client or request factory of Django or Django REST framework.
        url: such as ``/oauth2/token``.
        data: the parameters.
        extra: what else ``post`` of the test client takes.
    """
    return poster.post(url, urlencode(data), content_type=StrictFormParser.media_type, **extra)


@contextmanager
def time_travel(delta: timedelta) -> Iterator[None]:
    """Move the clocks of this process and, in our statements, that of the database.

    `django.utils.timezone.now`, `time.time` and `time.time_ns` are moved, in all threads. Not moved are
    ``datetime.now`` when it is called directly, `time.monotonic`, other processes, and the database's clock
    in statements of the site's own. At a time when there was no signing key yet, the oldest one signs.

    Args:
        delta: how far into the future, or into the past if it is negative. Journeys within journeys add up.
    """
    present, present_ns = time.time, time.time_ns

    def moved() -> float:
        return present() + delta.total_seconds()

    def moved_ns() -> int:
        return present_ns() + delta // timedelta(microseconds=1) * 1_000

    try:
        with (
            mock.patch.object(time, "time", moved),
            mock.patch.object(time, "time_ns", moved_ns),
            # Not `timezone.now` itself, which models have as the default of their fields.
            mock.patch.object(timezone, "datetime", _DatetimeOfTheTimeModule),
            mock.patch.object(key_set, "active_key", _active_or_oldest_key),
            database_follows_clock(),
        ):
            yield
    finally:
        if delta > _NONE:
            # What was read in the future lacks the keys that had been removed by then.
            key_set.forget()


@contextmanager
def database_follows_clock() -> Iterator[None]:
    """Let our statements take `time.time` for the database's clock, for tests that move it by other means.

    Under freezegun or time-machine alone, lifetimes follow the clock that they move, but not the grace period
    of refresh tokens, which the database measures.
    """
    # Compiled for each run: the time of one is not that of the next.
    with (
        mock.patch.object(compiled._Statement, "_compiled", _compile_each_time),
        mock.patch.object(DatabaseNow, "as_sql", _clock_of_this_process),
    ):
        yield


class _AnyDatetime(type):
    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, datetime)


class _DatetimeOfTheTimeModule(datetime, metaclass=_AnyDatetime):
    """The class `datetime` to those who ask it for the present, or whether something is one."""

    @classmethod
    def now(cls, tz: Any = None) -> Any:
        return datetime.fromtimestamp(time.time(), tz)


def _compile_each_time(statement: Any, using: str) -> Any:
    return statement._compile(using)


def _clock_of_this_process(
    expression: DatabaseNow, compiler: SQLCompiler, connection: Any, **extra: Any
) -> tuple[str, list[Any]]:
    now = datetime.fromtimestamp(time.time(), datetime_timezone.utc)
    if connection.vendor == "postgresql":
        return "%s", [now]
    # As `DatabaseNow` has it: in UTC, whatever the site's time zone is.
    return "%s", [now.replace(tzinfo=None).isoformat(" ", "microseconds")]


_active_key: Final = key_set.active_key


def _active_or_oldest_key(keys: Iterable[SigningKey], now: datetime) -> SigningKey | None:
    known = list(keys)
    if any(key.active_at <= now for key in known):
        return _active_key(known, now)
    return min(known, key=lambda key: key.active_at, default=None)


def _checked(scope: str) -> str:
    """Return the scope; an empty one would be taken for all that the client may have."""
    return " ".join(scopes.parse(scope))


def _new_client(user: AbstractBaseUser | None, scope: str) -> Client:
    """Return a client that may have a scope of the site, and whose tokens its views accept."""
    validate_scope(scope)
    audiences = ciam_settings.RESOURCE_AUDIENCES
    kind = ApplicationType.M2M if user is None else ApplicationType.WEB
    return Client(
        client_id=f"tests-{kind}",
        name="Tests",
        application_type=kind,
        scope=scope,
        audience=audiences[0] if audiences else "",
    )


def _saved_client(user: AbstractBaseUser | None, scope: str) -> Client:
    client, using = _new_client(user, scope), write_database(Client)
    saved = Client.objects.using(using).filter(client_id=client.client_id).first()
    if saved is not None:
        saved.scope = " ".join(dict.fromkeys((*saved.scopes, *client.scopes)))
        saved.audience = client.audience
        client = saved
    client.save(using=using)
    return client
