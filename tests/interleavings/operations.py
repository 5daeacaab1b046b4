"""What is run two or three at a time: requests of clients, and what users and operators do."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from django.core.exceptions import ObjectDoesNotExist
from django.core.handlers.base import BaseHandler
from django.db import Error
from django.test import RequestFactory

from django_ciam_token.api import rotate_client_secret, rotate_signing_key, update_client
from django_ciam_token.errors import TemporarilyUnavailable
from django_ciam_token.models import RevocationReason
from django_ciam_token.purging import purge
from django_ciam_token.sessions.criteria import SessionCriteria
from django_ciam_token.sessions.revocation import revoke_sessions
from tests.interleavings.world import REDIRECT_URI, VERIFIER, World

JUST_NOW, LONG_AGO = timedelta(seconds=1), timedelta(hours=1)
DONE, REFUSED, DIED = 0, -1, -2
TOKEN, REVOKE, INTROSPECT = "/oauth2/token", "/oauth2/revoke", "/oauth2/introspect"


@dataclass(frozen=True)
class Outcome:
    """How an operation ended."""

    status: int
    """Of HTTP; or that it was done, was refused by the database, or that its process died."""
    body: bytes = b""
    error: BaseException | None = None

    @property
    def is_done(self) -> bool:
        return self.status in (DONE, 200)

    def member(self, name: str) -> Any:
        return json.loads(self.body).get(name) if self.status == 200 else None


@dataclass(frozen=True)
class Operation:
    """One of the things that happen."""

    name: str
    act: Callable[[World, BaseHandler], Any]
    presents: int | str | None = None
    """Which token of a session it presents: its generation, or the other kinds by their names."""
    rotated_ago: timedelta | None = None
    """How long ago the session must have been rotated, if that matters."""
    ends: bool = False
    """Once it is done, no token of the session is good any more."""
    revokes: bool = False
    """It does so by revoking the session's row."""
    reuses: bool = False
    """It presents a token that somebody else may have: the session is to end."""

    def outcome(self, result: Any) -> Outcome:
        """Return how it ended, of what the worker has of it."""
        if isinstance(result, Outcome):
            return result
        if result is None:
            return Outcome(DIED)
        # An operator who changes what another one has just deleted is told so.
        if isinstance(result, TemporarilyUnavailable | Error | ObjectDoesNotExist):
            return Outcome(REFUSED, error=result)
        return Outcome(500, error=result)


def post(handler: BaseHandler, url: str, form: dict[str, str]) -> Outcome:
    body = urlencode(form)
    request = RequestFactory().post(url, body, content_type="application/x-www-form-urlencoded")
    response = handler.get_response(request)
    return Outcome(response.status_code, bytes(response.content))


def credentials(world: World) -> dict[str, str]:
    return {"client_id": world.client.client_id, "client_secret": world.client.plain_secret}


def refresh(world: World, handler: BaseHandler, token: str) -> Outcome:
    form = {"grant_type": "refresh_token", "refresh_token": token}
    return post(handler, TOKEN, {**credentials(world), **form})


def exchange(world: World, handler: BaseHandler) -> Outcome:
    form = {"grant_type": "authorization_code", "code": world.code, "redirect_uri": REDIRECT_URI}
    return post(handler, TOKEN, {**credentials(world), **form, "code_verifier": VERIFIER})


def _refresh(name: str, presents: int, **what: Any) -> Operation:
    return Operation(
        name,
        lambda world, handler: refresh(world, handler, world.tokens[presents]),
        presents=presents,
        **what,
    )


def _form(name: str, url: str, token: Callable[[World], str], **what: Any) -> Operation:
    def act(world: World, handler: BaseHandler) -> Outcome:
        return post(handler, url, {**credentials(world), "token": token(world)})

    return Operation(name, act, **what)


def _done(name: str, act: Callable[[World], Any], **what: Any) -> Operation:
    def call(world: World, handler: BaseHandler) -> Outcome:
        act(world)
        return Outcome(DONE)

    return Operation(name, call, **what)


def _by_operator(world: World) -> None:
    revoke_sessions(SessionCriteria(client=world.client), reason=RevocationReason.OPERATOR, actor="operator")


def _by_user(world: World) -> None:
    revoke_sessions(SessionCriteria(user=world.user), reason=RevocationReason.USER)


def _change_password(world: World) -> None:
    world.user.set_password("another horse")
    world.user.save(update_fields=["password"])


def _disable_user(world: World) -> None:
    world.user.is_active = False
    world.user.save(update_fields=["is_active"])


OPERATIONS = (
    _refresh("refresh", 2),
    _refresh("refresh, predecessor in time", 1, rotated_ago=JUST_NOW),
    _refresh("refresh, predecessor too late", 1, rotated_ago=LONG_AGO, reuses=True),
    _refresh("refresh, older token", 0, reuses=True),
    Operation("exchange a code", exchange, presents="code"),
    Operation(
        "first use of a foreign token",
        lambda world, handler: refresh(world, handler, world.foreign),
        presents="foreign",
    ),
    _form("revoke, by the client", REVOKE, lambda world: world.tokens[2], ends=True, revokes=True),
    _form("revoke an access token", REVOKE, lambda world: world.access_token),
    _done("revoke, by an operator", _by_operator, ends=True, revokes=True),
    _done("revoke, by the user", _by_user, ends=True, revokes=True),
    _form("introspect a refresh token", INTROSPECT, lambda world: world.tokens[2]),
    _form("introspect an access token", INTROSPECT, lambda world: world.access_token),
    _done("change the password", _change_password, ends=True),
    _done("disable the user", _disable_user, ends=True),
    _done("delete the user", lambda world: world.user.delete(), ends=True),
    _done("disable the client", lambda world: update_client(world.client, is_active=False), ends=True),
    _done("delete the client", lambda world: world.client.delete(), ends=True),
    _done("rotate the client secret", lambda world: rotate_client_secret(world.client)),
    _done("withdraw a scope", lambda world: update_client(world.client, scope="openid"), ends=True),
    _done("rotate the key", lambda world: rotate_signing_key()),
    _done("rotate the key at once", lambda world: rotate_signing_key(immediately=True)),
    _done("replace a compromised key", lambda world: rotate_signing_key(compromised=True)),
    _done("purge", lambda world: purge()),
)


def fit_together(operations: Sequence[Operation]) -> bool:
    """Tell whether the session can be as all of them need it."""
    return len({operation.rotated_ago for operation in operations} - {None}) <= 1
