"""Changing the configuration of a client, and reporting what was changed.

The admin and the command both go through here, so that the log, the signal and the audit trail say the same.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Final, TypeAlias

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.duration import duration_string

from django_ciam_token import signals
from django_ciam_token.caller import NOBODY, Caller
from django_ciam_token.clients.locking import locked
from django_ciam_token.database.retry import retry
from django_ciam_token.database.routing import write_database
from django_ciam_token.models import Client

logger = logging.getLogger("django_ciam_token")

Value: TypeAlias = str | bool | list[str] | None
"""A field as it is reported: a lifetime as text, addresses and origins as a list; None for "not set"."""
Changes: TypeAlias = dict[str, tuple[Value, Value]]
"""The fields that changed, each with its old and its new value."""

LISTS: Final = ("redirect_uris", "post_logout_redirect_uris", "allowed_origins")
"""Fields that hold several values, separated by white space."""
# Installed applications and resource servers rely on the first two.
_FIXED: Final = frozenset({"client_id", "application_type", "created_at", "id"})
_CONFIGURATION: Final = tuple(
    field.name for field in Client._meta.concrete_fields if field.name not in ("created_at", "id")
)


def update_client(
    client: Client, *, actor: str = "", caller: Caller = NOBODY, dry_run: bool = False, **fields: Any
) -> Changes:
    """Change fields of a client; return those that had another value before.

    Args:
        client: gets the new values.
        actor: who did it, if it was a person: a user name.
        caller: where the request came from.
        dry_run: only say what would change.
        fields: the new values; several addresses or origins are separated by white space.

    Raises:
        ValueError: there is no such field, or it can't be changed.
        django.core.exceptions.ValidationError: a value is wrong; nothing was changed.
        TemporarilyUnavailable: the database refused; if a COMMIT broke, the change may have been made.
    """
    if wrong := [name for name in fields if name not in _CONFIGURATION or name in _FIXED]:
        raise ValueError(f"not a field of a client that can be changed: {', '.join(wrong)}")

    def edit(row: Client) -> None:
        for name, value in fields.items():
            setattr(row, name, value)

    return edit_client(client, edit, actor=actor, caller=caller, dry_run=dry_run)


def edit_client(
    client: Client,
    edit: Callable[[Client], None],
    *,
    actor: str = "",
    caller: Caller = NOBODY,
    dry_run: bool = False,
) -> Changes:
    """Change a client by a function of its present row, while other changes wait; return what changed.

    Args:
        client: gets the new values.
        edit: sets attributes of the row; called again if the database refuses.
        actor: who did it, if it was a person: a user name.
        caller: where the request came from.
        dry_run: only say what would change.

    Raises:
        django.core.exceptions.ValidationError: a value is wrong; nothing was changed.
        TemporarilyUnavailable: the database refused; if a COMMIT broke, the change may have been made.
    """
    using = write_database(Client)
    done: Changes = {}

    def write(_: int) -> Client:
        nonlocal done
        with transaction.atomic(using=using):
            row = locked(client.pk, using=using)
            before = _configuration(row)
            edit(row)
            changes = _difference(before, _configuration(row))
            if changes:
                _check(row, changes)
                # After a COMMIT whose outcome is unknown nothing may be left to change.
                done = changes
                if not dry_run:
                    row.save(using=using, update_fields=list(changes))
        return row

    row = retry(write, using=using)
    if done and not dry_run:
        for name in done:
            setattr(client, name, getattr(row, name))
        _report(client, action="changed", changes=done, actor=actor, caller=caller)
    return done


def report_creation(client: Client, *, actor: str = "", caller: Caller = NOBODY) -> None:
    """Log and signal that a client was created, with all that is set for it."""
    changes: Changes = {name: (None, value) for name, value in _configuration(client).items() if value}
    _report(client, action="created", changes=changes, actor=actor, caller=caller)


def report_deletion(client: Client, *, actor: str = "", caller: Caller = NOBODY) -> None:
    """Log and signal that a client was deleted, with all that was set for it."""
    changes: Changes = {name: (value, None) for name, value in _configuration(client).items() if value}
    _report(client, action="deleted", changes=changes, actor=actor, caller=caller)


def report_switch(client: Client, *, actor: str = "", caller: Caller = NOBODY) -> None:
    """Log and signal that a client was enabled or disabled."""
    changes: Changes = {"is_active": (not client.is_active, client.is_active)}
    _report(client, action="changed", changes=changes, actor=actor, caller=caller)


def _report(client: Client, *, action: str, changes: Changes, actor: str, caller: Caller) -> None:
    logger.info(
        "Client %s %s: %s",
        client.client_id,
        action,
        ", ".join(changes),
        extra={"event": f"client_{action}", "client_id": client.client_id, "actor": actor},
    )
    signals.send_after_commit(
        signals.client_changed,
        sender=Client,
        using=write_database(Client),
        client=client,
        action=action,
        changes=changes,
        actor=actor,
        caller=caller,
    )


def _configuration(client: Client) -> dict[str, Value]:
    return {name: _value(name, getattr(client, name)) for name in _CONFIGURATION}


def _value(name: str, value: Any) -> Value:
    if name in LISTS:
        return str(value).split()
    if isinstance(value, timedelta):
        return duration_string(value)
    return value if value is None or isinstance(value, bool) else str(value)


def _difference(before: Mapping[str, Value], after: Mapping[str, Value]) -> Changes:
    return {name: (before[name], value) for name, value in after.items() if before[name] != value}


def _check(row: Client, changed: Changes) -> None:
    """Refuse new values that are wrong, but not old ones: whatever its scope, a client can be disabled."""
    try:
        row.full_clean(exclude=set(_CONFIGURATION) - set(changed))
    except ValidationError as error:
        if ours := {name: errors for name, errors in error.error_dict.items() if name in changed}:
            raise ValidationError(ours) from error
