"""The options that `create_client` and `update_client` share, and the fields of a client that they set."""

from __future__ import annotations

from argparse import BooleanOptionalAction
from typing import Any, Final

from django.core.management.base import CommandError, CommandParser

from django_ciam_token.models import Client

_TEXTS: Final = {
    "scope": ("--scope", 'Scopes it may be granted, such as "openid profile"; "openid" by default.'),
    "audience": ("--audience", "The aud of its access tokens; its client_id by default."),
}
LISTS: Final = {
    "redirect_uris": (
        "redirect-uri",
        "URI",
        (
            "Where people may be sent after signing in, exactly as the application sends it. A mobile "
            "application may have com.example.app:/callback or http://127.0.0.1/callback."
        ),
    ),
    "post_logout_redirect_uris": (
        "post-logout-redirect-uri",
        "URI",
        "Where people may be sent after signing out.",
    ),
    "allowed_origins": (
        "allowed-origin",
        "ORIGIN",
        "An origin from which browsers may call, such as https://app.example.com.",
    ),
}
"""Fields with several values: the name of their option, what it takes, and what it is for."""
FLAGS: Final = {
    "asks_consent": ("--ask-consent", "Ask people what the application may do: for those of other people."),
    "requires_pkce": ("--require-pkce", "Refuse to sign people in without PKCE; public clients always must."),
    "may_use_client_credentials": (
        "--client-credentials",
        "Let a web application get tokens for itself; a machine always may.",
    ),
    "refreshes_client_credentials": (
        "--refresh-client-credentials",
        "Give it refresh tokens with client credentials as well.",
    ),
}
"""Switches that are off by default: their option, and what it is for."""


def add_client_options(parser: CommandParser, *, negatable: bool) -> None:
    """Add the options.

    Args:
        parser: of the command.
        negatable: also ``--no-ask-consent`` and the like, for a client that there is already.
    """
    for field, (option, text) in _TEXTS.items():
        parser.add_argument(option, dest=field, help=text)
    for field, (option, metavar, text) in LISTS.items():
        repeated = f"{text} Repeat it for each."
        parser.add_argument(f"--{option}", action="append", dest=field, metavar=metavar, help=repeated)
    for field, (option, text) in FLAGS.items():
        how: dict[str, Any] = {"action": BooleanOptionalAction}
        if not negatable:
            how = {"action": "store_const", "const": True}
        parser.add_argument(option, dest=field, help=text, **how)


def fields_of(options: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of `Client` for which an option was given."""
    given = {name: options[name] for name in (*_TEXTS, *FLAGS, *LISTS) if options[name] is not None}
    return {name: "\n".join(value) if name in LISTS else value for name, value in given.items()}


def add_list_edits(parser: CommandParser) -> None:
    """Add options that add a value to a list, or remove it."""
    for field, (option, metavar, _text) in LISTS.items():
        for verb in ("add", "remove"):
            parser.add_argument(
                f"--{verb}-{option}",
                action="append",
                default=[],
                dest=f"{verb}_{field}",
                metavar=metavar,
                help=f"{verb.capitalize()} one, and keep the others.",
            )


def edit_lists(client: Client, options: dict[str, Any]) -> None:
    """Add to and remove from a client's lists what the options say.

    Raises:
        CommandError: something to remove is not there.
    """
    for field, (option, _metavar, _text) in LISTS.items():
        values = getattr(client, field).split()
        for removed in options[f"remove_{field}"]:
            if removed not in values:
                raise CommandError(f"{client.client_id} has no {option.replace('-', ' ')} {removed!r}.")
            values.remove(removed)
        values += [value for value in options[f"add_{field}"] if value not in values]
        if options[f"add_{field}"] or options[f"remove_{field}"]:
            setattr(client, field, "\n".join(values))


def edits_lists(options: dict[str, Any]) -> bool:
    """Tell whether any such option was given."""
    return any(options[f"{verb}_{field}"] for field in LISTS for verb in ("add", "remove"))
