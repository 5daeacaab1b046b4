"""What a host site can listen to.

Every signal is sent after the change it speaks of was committed, with ``send_robust``: a receiver that
fails is logged by Django and breaks no answer. No argument ever holds a token, a secret or a key.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from django.db import connections, transaction
from django.dispatch import Signal

tokens_issued: Final = Signal()
"""First tokens were issued. Arguments: ``session`` (None without a refresh token), ``client``, ``user``,
``caller``."""

# The only one that is sent often.
tokens_refreshed: Final = Signal(use_caching=True)
"""A refresh token was rotated. Arguments: ``session``, ``client``, ``caller``."""

tokens_replayed: Final = Signal()
"""A predecessor was answered with its successor again. Arguments: ``session``, ``client``, ``caller``."""

reuse_detected: Final = Signal()
"""A superseded refresh token was presented; its session was revoked. Arguments: ``session``, ``client``,
``caller``."""

session_revoked: Final = Signal()
"""A session was ended. Arguments: ``session``, ``reason``, ``actor`` (a user name, or empty), ``caller``."""

sessions_revoked: Final = Signal()
"""As `session_revoked`, but once for all that were ended by one statement. Arguments: ``sessions`` (a list),
``reason``, ``actor``, ``caller``."""

access_token_revoked: Final = Signal()
"""One access token was revoked. Arguments: ``jti``, ``session_id``, ``client``, ``caller``."""

client_authentication_failed: Final = Signal()
"""Client authentication failed. Arguments: ``client_id`` (None if no such client), ``reason``,
``caller``."""

signing_key_rotated: Final = Signal()
"""A new signing key was made. Arguments: ``kid``, ``algorithm``, ``active_at``, ``actor`` (a user name, or
empty), ``caller``."""

client_secret_rotated: Final = Signal()
"""A client got a new secret. Arguments: ``client``, ``replaced_expires_at`` (at the latest), ``actor``,
``caller``."""


def send_revoked(sessions: list[Any], *, sender: type, using: str, **arguments: Any) -> None:
    """Tell of sessions that were ended together: of each, and of all at once."""
    for session in sessions:
        send_after_commit(session_revoked, sender=sender, using=using, session=session, **arguments)
    if sessions:
        send_after_commit(sessions_revoked, sender=sender, using=using, sessions=sessions, **arguments)


def is_revocation_heard(sender: type) -> bool:
    """Tell whether anybody listens to either of the two."""
    return session_revoked.has_listeners(sender) or sessions_revoked.has_listeners(sender)


def send_after_commit(signal: Signal, *, sender: type, using: str, **arguments: Any) -> None:
    """Send a signal once the transaction around it, if there is one, is committed.

    Costs nothing when nobody listens, which matters on the path of every refresh. Outside of transactions
    nothing is asked of the connection: an earlier receiver may have lost it, which is no reason to fail.
    """
    if not connections[using].in_atomic_block:
        signal.send_robust(sender=sender, **arguments)
    elif signal.has_listeners(sender):
        send: Callable[[], object] = partial(signal.send_robust, sender=sender, **arguments)
        transaction.on_commit(send, using=using, robust=True)
