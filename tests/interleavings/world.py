"""The rows that two operations meet: put back before each run, because a run changes them."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import lru_cache
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from django.contrib.auth import get_user_model
from django.core.handlers.base import BaseHandler
from django.db import transaction
from django.test import override_settings
from django.utils import timezone

from django_ciam_token import models
from django_ciam_token.api import issue_tokens
from django_ciam_token.caller import NOBODY
from django_ciam_token.crypto import jose, refresh_token_string, site_keys
from django_ciam_token.crypto.refresh_token_string import GenuineToken
from django_ciam_token.database import retry
from django_ciam_token.grants import rotating
from django_ciam_token.keys import key_set, signing_keys
from django_ciam_token.monitoring import audit_trail, refresh_counter
from django_ciam_token.tokens.authorization_codes import issue_code
from django_ciam_token.views.throttling import FailureThrottle
from tests import other_package
from tests.factories import ClientFactory, UserFactory, make_session
from tests.interleavings.snapshot import Snapshot

REDIRECT_URI = "https://app.example.com/callback"
VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
SCOPE = "openid profile"
AT_FIRST = 2
"""The generation of the session when a run begins."""
_LASTS = 5.0
"""Seconds after which the rows are made anew: codes expire, and a rotation is a second ago."""
SETTINGS = {
    **other_package.SETTINGS,
    "SIGNING_ALGORITHM": "ES256",
    "PROCESS_CACHE_LIFETIME": 3600,
    "FAILURES_PER_MINUTE": None,
}
# Children first.
_TABLES = (
    models.ForeignToken,
    models.RevokedAccessToken,
    models.SecurityEvent,
    models.Consent,
    models.RefreshToken,
    models.ClientSecret,
    models.Client,
)


@dataclass
class World:
    """What an operation needs to know of the rows."""

    user: Any
    client: Any
    session_id: Any
    tokens: list[str]
    """Of the session, by generation; the last one is current."""
    access_token: str
    code: str
    code_session_id: Any
    bystander: str
    """The refresh token of another session of the same user and client, which nobody touches."""
    bystander_id: Any
    foreign: str
    key: models.SigningKey


def as_own(world: World) -> World:
    """Return the world as one operation sees it: it changes instances of its own."""
    return replace(world, user=copy.copy(world.user), client=copy.copy(world.client))


class Template:
    """Users, clients, keys and sessions; made once in a while, and put back before each run."""

    def __init__(self) -> None:
        _delete_everything()
        self._user = UserFactory()
        self._client = ClientFactory(redirect_uris=REDIRECT_URI, scope=SCOPE)
        self._secrets = list(self._client.secrets.all())
        self._key = signing_keys.rotate(immediately=True)
        self.handler = BaseHandler()
        self.handler.load_middleware()
        self._snapshot = Snapshot((*_TABLES, get_user_model()))
        # What keys do is rare, and to read them again costs more.
        self._keys = Snapshot([models.SigningKey])
        self._world: World | None = None
        self._rotated_ago, self._made_at = timedelta(0), 0.0

    def restored(self, *, rotated_ago: timedelta) -> World:
        """Put the rows back, and return what they are."""
        is_old = time.monotonic() - self._made_at > _LASTS
        if self._world is None or is_old or rotated_ago != self._rotated_ago:
            self._made_at, self._rotated_ago = time.monotonic(), rotated_ago
            self._world = self._make(rotated_ago)
            self._snapshot.take()
            self._keys.take()
        else:
            if self._keys_have_changed():
                self._keys.put_back()
                key_set.forget()
            self._snapshot.put_back()
        _forget()
        key_set.current()
        return as_own(self._world)

    def close(self) -> None:
        self._snapshot.drop()
        self._keys.drop()

    @transaction.atomic
    def _make(self, rotated_ago: timedelta) -> World:
        _delete_everything(and_keys=self._keys_have_changed())
        if self._keys_have_changed():
            models.SigningKey.objects.bulk_create([copy.copy(self._key)])
            key_set.forget()
        get_user_model().objects.bulk_create([copy.copy(self._user)])
        models.Client.objects.bulk_create([copy.copy(self._client)])
        models.ClientSecret.objects.bulk_create([copy.copy(secret) for secret in self._secrets])
        _forget()
        user, client = copy.copy(self._user), copy.copy(self._client)
        with override_settings(PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"]):
            first = issue_tokens(client=client, user=user)
        session_id, tokens = _advance(str(first["refresh_token"]), rotated_ago)
        bystander = str(issue_tokens(client=client, user=user)["refresh_token"])
        code_session_id, code = _code(client, user)
        long_ago = timezone.now() - timedelta(days=400)
        make_session(client, user, issued_at=long_ago, expires_at=long_ago, revoked_at=long_ago)
        other_package.forget()
        foreign, _ = other_package.live(client, user, scope=SCOPE)
        models.SecurityEvent.objects.all()._raw_delete("default")
        return World(
            user=user,
            client=client,
            session_id=session_id,
            tokens=tokens,
            access_token=str(first["access_token"]),
            code=code,
            code_session_id=code_session_id,
            bystander=bystander,
            bystander_id=_genuine(bystander).session_id,
            foreign=foreign,
            key=self._key,
        )

    def _keys_have_changed(self) -> bool:
        kept = list(models.SigningKey.objects.values_list("kid", "retired_at"))
        return kept != [(self._key.kid, None)]


def _delete_everything(*, and_keys: bool = True) -> None:
    for model in (*_TABLES, get_user_model(), *([models.SigningKey] if and_keys else [])):
        model._base_manager.all()._raw_delete("default")


def _forget() -> None:
    other_package.ASKED.clear()
    FailureThrottle.memory.forget()
    audit_trail.forget()


def _genuine(text: str) -> GenuineToken:
    return refresh_token_string.authenticate(text, site_keys.token_keys())


def _advance(first: str, rotated_ago: timedelta) -> tuple[Any, list[str]]:
    """Let the session have been rotated twice; return its tokens."""
    key, now = site_keys.token_keys()[0], timezone.now()
    generations = [_genuine(first)]
    for _ in range(AT_FIRST):
        nonce = refresh_token_string.new_nonce()
        generations.append(refresh_token_string.successor(generations[-1], nonce=nonce, key=key))
    current = generations[-1]
    models.RefreshToken.objects.filter(pk=current.session_id).update(
        generation=current.generation,
        nonce=nonce,
        secret_digest=refresh_token_string.digest(current.secret),
        rotated_at=now - rotated_ago,
    )
    return current.session_id, [refresh_token_string.encode(token, key) for token in generations]


def _code(client: Any, user: Any) -> tuple[Any, str]:
    known = set(models.RefreshToken.objects.values_list("pk", flat=True))
    code = issue_code(
        client=client,
        user=user,
        scope=("openid",),
        auth_time=timezone.now(),
        redirect_uri=REDIRECT_URI,
        code_challenge=CHALLENGE,
        nonce=None,
        caller=NOBODY,
        now=timezone.now(),
    ).reveal()
    [session_id] = set(models.RefreshToken.objects.values_list("pk", flat=True)) - known
    return session_id, code


@contextmanager
def surroundings() -> Iterator[None]:
    """Take away what only costs time: pauses, RSA, a count that is written once a minute."""

    def no_pause(seconds: float) -> None:
        pass

    with ExitStack() as stack:
        for module in (retry, rotating):
            stack.enter_context(
                patch.object(module, "time", SimpleNamespace(monotonic=module.time.monotonic, sleep=no_pause))
            )
        parse = lru_cache(maxsize=None)(jose.load_pem_private_key)
        stack.enter_context(patch.object(jose, "load_pem_private_key", parse))
        stack.enter_context(patch.object(refresh_counter.counter, "_is_due", lambda tenant: False))
        stack.enter_context(override_settings(CIAM_TOKEN=SETTINGS))
        yield
