"""A refresh token that another package issued, as the token of ours that it stands for.

The string is looked up once; then everything is decided as for any token: by its session and its generation.

| the other package says | and here | the token stands for |
|---|---|---|
| live | unknown | the current token of a session that is begun now |
| live | known, not refreshed yet | the current token of its session |
| anything | known, refreshed or revoked since | that first token: a replay or a reuse |
| ended | known, or its sign-in has a live token | a superseded one, which ends the session |
| nothing | unknown | nothing: refused |
| it can't be asked any more | known | the current token of its session |
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django_ciam_token.concealed import Concealed
from django_ciam_token.crypto import refresh_token_string
from django_ciam_token.crypto.refresh_token_string import GenuineToken
from django_ciam_token.database.retry import read_rows
from django_ciam_token.database.routing import write_database
from django_ciam_token.keys import key_set
from django_ciam_token.models import Client, ForeignToken, RefreshToken
from django_ciam_token.sessions.adoption import FIRST_GENERATION, SUPERSEDED_GENERATION, adopt_one, extend
from django_ciam_token.sessions.foreign import (
    EndedToken,
    ForeignFormat,
    ForeignIdentity,
    LiveToken,
    formats,
    key_of,
)
from django_ciam_token.sessions.rows import SessionReading, find_session

# Tokens of every kind and version: what looks like one of ours is never taken for another package's.
_OURS: Final = refresh_token_string.PREFIX.partition("_")[0] + "_"


def resolve(text: Concealed, *, now: datetime) -> GenuineToken | None:
    """Return what a refresh token of another package stands for; None if it is to be refused.

    A live token becomes a session now. Which client presents it does not matter here: a session that belongs
    to another client is judged like any such session.

    Raises:
        TemporarilyUnavailable: the database refused, or the site has the wrong secrets: the session would
            keep another hash of the password than other processes expect.
    """
    if text.reveal().startswith(_OURS):
        return None
    for name, tokens in formats().items():
        identity = tokens.identify(text)
        if identity is not None:
            key_set.current().require_right_secrets(now)
            presented = _Presented(name, tokens, identity, now).resolved()
            if presented is not None:
                return presented
    return None


def known(text: Concealed) -> GenuineToken | None:
    """Return what a refresh token of another package stands for if it has been used here; writes nothing."""
    rows = ForeignToken.objects.using(write_database(ForeignToken))
    for name, tokens in formats().items():
        identity = tokens.identify(text)
        if identity is None:
            continue
        found = read_rows(
            rows.filter(pk=key_of(name, identity.known_by)).values_list("session_id", flat=True)
        )
        if found:
            return GenuineToken(session_id=found[0], generation=FIRST_GENERATION, secret=identity.secret)
    return None


@dataclass(frozen=True)
class _Presented:
    name: str
    tokens: ForeignFormat
    identity: ForeignIdentity
    now: datetime

    def resolved(self) -> GenuineToken | None:
        reading, is_known = self._read()
        if reading is not None and not _awaits_first_use(reading.session):
            # It has been used up here, whatever the other package says.
            return self._first_token_of(reading.session.pk)
        found = self.tokens.find(self.identity)
        if isinstance(found, LiveToken):
            # Without its session it was used up here long ago.
            return None if is_known and reading is None else self._live(found, reading)
        if reading is not None and not self.tokens.is_consulted():
            return self._first_token_of(reading.session.pk)
        return self._ended(found or EndedToken(), reading)

    def _read(self) -> tuple[SessionReading | None, bool]:
        """Return the session that the token has become, and whether it has become one."""
        rows = ForeignToken.objects.using(write_database(ForeignToken))
        key = key_of(self.name, self.identity.known_by)
        found = read_rows(rows.filter(pk=key).values_list("session_id", flat=True))
        return (find_session(found[0]), True) if found else (None, False)

    def _live(self, token: LiveToken, reading: SessionReading | None) -> GenuineToken | None:
        if reading is not None:
            # It may have been used in the other system since, and live longer for it.
            extend([(reading.session, token)])
            return self._first_token_of(reading.session.pk)
        session_id = adopt_one(token, name=self.name, now=self.now)
        return None if session_id is None else self._first_token_of(session_id)

    def _ended(self, token: EndedToken, reading: SessionReading | None) -> GenuineToken | None:
        """Treat it as an old token of the sign-in's present session.

        Within the grace period it may be that of a second tab, or of a client that did not get the other
        system's answer: it is refused, and nothing ends.
        """
        if token.current is not None:
            session_id = adopt_one(token.current, name=self.name, now=self.now)
            reading = reading if session_id is None else find_session(session_id)
        if reading is None:
            return None
        session = reading.session
        if token.at is not None and self.now - token.at < _grace_period(session):
            return None
        return GenuineToken(
            session_id=session.pk, generation=SUPERSEDED_GENERATION, secret=self.identity.secret
        )

    def _first_token_of(self, session_id: uuid.UUID) -> GenuineToken:
        return GenuineToken(session_id=session_id, generation=FIRST_GENERATION, secret=self.identity.secret)


def _awaits_first_use(session: RefreshToken) -> bool:
    return session.generation == FIRST_GENERATION and session.revoked_at is None


def _grace_period(session: RefreshToken) -> timedelta:
    clients = read_rows(Client.objects.using(write_database(Client)).filter(pk=session.client_id))
    # If it was deleted just now, its sessions are gone as well.
    return next((client.effective_grace_period for client in clients), timedelta(0))
