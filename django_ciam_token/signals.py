"""The signals that a host site can connect to.

Every signal is sent after its change was committed, and with ``send_robust``: if a receiver fails, Django
logs it and the request is still answered. No argument ever contains a token, a secret or a key.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from django.db import connections, transaction
from django.dispatch import Signal

tokens_issued: Final = Signal()
"""First tokens were issued. Arguments: ``session`` (None without a refresh token), ``client``, ``user``,
``caller``, ``is_recorded`` (whether the audit trail was written in the same transaction)."""

# Caching, because this is the only signal that is sent often.
tokens_refreshed: Final = Signal(use_caching=True)
"""A refresh token was rotated. Arguments: ``session``, ``client``, ``caller``."""

tokens_replayed: Final = Signal()
"""A predecessor got its successor again. Arguments: ``session``, ``client``, ``caller``."""

reuse_detected: Final = Signal()
"""A superseded refresh token was presented; its session was revoked. Arguments: ``session``, ``client``,
``caller``."""

refresh_refused: Final = Signal()
"""A refresh with a token that this service has issued was refused. Arguments: ``session_id``, ``client``
(None if it has not proved its identity), ``reason`` (as the log has it), ``caller``."""

session_revoked: Final = Signal()
"""A session was ended. Arguments: ``session``, ``reason``, ``actor`` (a user name, or empty), ``caller``.

If its user or its client was deleted, the reason is ``user_deleted`` or ``client_deleted``. The row is gone
then, and of the session only its id, ``user``, ``client`` and ``revoked_at`` are known."""

sessions_revoked: Final = Signal()
"""Like `session_revoked`, but sent once for all sessions that one statement ended. Arguments: ``sessions``
(a list), ``reason``, ``actor``, ``caller``."""

access_token_revoked: Final = Signal()
"""One access token was revoked. Arguments: ``jti``, ``session_id``, ``client``, ``caller``."""

client_authentication_failed: Final = Signal()
"""Client authentication failed. Arguments: ``client_id`` (None if there is no such client), ``reason``,
``caller``."""

signing_key_rotated: Final = Signal()
"""A new signing key was made. Arguments: ``kid``, ``algorithm``, ``active_at``, ``actor`` (a user name, or
empty), ``caller``."""

client_secret_rotated: Final = Signal()
"""A client got a new secret. Arguments: ``client``, ``replaced_expires_at`` (at the latest), ``actor``,
``caller``."""

client_secret_retired: Final = Signal()
"""One of the two secrets of a client was ended by an operator. Arguments: ``client``, ``last_four`` (of the
secret), ``actor``, ``caller``."""

client_changed: Final = Signal()
"""The configuration of a client was changed by an operator. Arguments: ``client``, ``action`` (``created``,
``changed`` or ``deleted``), ``changes`` (a dict: for each field that differs, the old and the new value),
``actor``, ``caller``."""

rows_exported: Final = Signal()
"""An operator exported a list of the admin as CSV. Arguments: ``model`` (``refreshtoken`` or
``securityevent``), ``query`` (the filters and the search, as in the address of the list), ``actor``,
``caller``."""

consent_withdrawn: Final = Signal()
"""What a user had allowed a client was taken back; their sessions there were ended. Arguments: ``client``,
``user``, ``scope`` (a tuple), ``actor`` (a user name, or empty for the user), ``caller``."""

consent_given: Final = Signal()
"""A user allowed an application something new. Arguments: ``client``, ``user``, ``scope`` (a tuple),
``caller``."""

# Caching, as above.
token_request_answered: Final = Signal(use_caching=True)
"""The token endpoint has answered, whatever the answer. For metrics: each argument has few values. Arguments:
``client_id`` (empty if the request names no client of the site), ``grant_type`` (empty if it names none that
is served), ``outcome`` (``issued``, ``throttled``, or the ``error`` of the answer), ``duration`` (seconds).

That a request names a client does not mean that it came from it: see ``outcome``."""

alert_raised: Final = Signal()
"""``manage.py check_health --mail`` has found something that needs attention. Sent by that command and never
by a request, so a receiver may take its time. Arguments: ``kind`` (``no_usable_key``, ``key_past_its_age``,
``reuse_detected``, ``authentication_failures``, ``database_unavailable``, ``wrong_settings``), ``text`` (for
a person, in English), ``count``, ``client_ids`` (a tuple)."""


def send_revoked(sessions: list[Any], *, sender: type, using: str, **arguments: Any) -> None:
    """Send the signals for sessions that were ended together: one for each, and one for all of them."""
    for session in sessions:
        send_after_commit(session_revoked, sender=sender, using=using, session=session, **arguments)
    if sessions:
        send_after_commit(sessions_revoked, sender=sender, using=using, sessions=sessions, **arguments)


def is_revocation_heard(sender: type) -> bool:
    """Tell whether either of these two signals has a receiver."""
    return session_revoked.has_listeners(sender) or sessions_revoked.has_listeners(sender)


def send_after_commit(signal: Signal, *, sender: type, using: str, **arguments: Any) -> None:
    """Send a signal once the transaction around it, if there is one, is committed.

    It costs nothing when nothing is connected, which matters because every refresh sends one. Outside of
    transactions it does not use the connection: an earlier receiver may have lost it, which is no error.
    """
    if not connections[using].in_atomic_block:
        signal.send_robust(sender=sender, **arguments)
    elif signal.has_listeners(sender):
        send: Callable[[], object] = partial(signal.send_robust, sender=sender, **arguments)
        transaction.on_commit(send, using=using, robust=True)
