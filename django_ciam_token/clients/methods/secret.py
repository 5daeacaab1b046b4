"""Checking a client secret, in whichever part of the request it came, or its absence."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

from django_ciam_token.clients.methods.base import AuthenticationMethod, Credentials, Outcome
from django_ciam_token.clients.secrets import DIGEST_PREFIX, is_live, is_ours, matches, secret_digest
from django_ciam_token.concealed import Concealed
from django_ciam_token.sessions.rows import ClientReading, StoredSecret

# Never equal to a digest: its hexadecimal part is not hexadecimal.
_NO_DIGEST: Final = DIGEST_PREFIX + "-" * 64
_NOTHING: Final = Concealed("")


class SecretMethod(AuthenticationMethod):
    """A method whose proof is the client's secret; without one, the client must be public."""

    def check(
        self,
        credentials: Credentials,
        reading: ClientReading | None,
        *,
        now: datetime,
        may_guess: Callable[[], bool],
    ) -> Outcome:
        """Compare the secret with those that are stored; imported ones only while guessing is limited."""
        secrets = () if reading is None else reading.secrets
        presented = credentials.secret
        live = [stored for stored in secrets if is_live(stored, now)]
        # A slow hash only for a secret that was presented: anybody can send a request without one.
        slow = [stored for stored in live if not is_ours(stored)]
        is_refused = bool(slow) and presented is not None and not may_guess()
        tried = [stored for stored in live if is_ours(stored) or (presented is not None and not is_refused)]
        matched = [stored for stored in tried if matches(presented or _NOTHING, stored.digest)]
        if not tried:
            matches(presented or _NOTHING, _NO_DIGEST)
        if reading is None:
            return Outcome(failure="unknown_client")
        if not reading.client.is_active:
            return Outcome(failure="client_disabled")
        if not secrets and not reading.client.must_have_secret:
            # Public. A secret that nobody gave it is refused like a wrong one.
            return Outcome(failure=None if presented is None else "unexpected_secret")
        if presented is None:
            return Outcome(failure="missing_secret")
        if matched:
            return Outcome(secret=matched[0])
        return Outcome(failure="secret_not_tried" if is_refused else _explain(secrets, presented))


def _explain(secrets: Sequence[StoredSecret], presented: Concealed) -> str:
    """Say what an operator would want to know about a wrong secret; without any slow hash."""
    digest = presented.lend(secret_digest)
    for stored in secrets:
        if presented == Concealed(stored.digest):
            return "stored_digest_presented"
        if hmac.compare_digest(digest.encode(), stored.digest.encode()):
            return "expired_secret"
    return "wrong_secret"
