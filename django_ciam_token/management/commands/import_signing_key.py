"""``manage.py import_signing_key``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from django_ciam_token.errors import TemporarilyUnavailable, WrongSecrets
from django_ciam_token.keys.importing import PUBLISHED_FOR, UnusableKey, import_signing_key
from django_ciam_token.management.commands import WRONG_SECRETS, TokenCommand, add_json_option, operator_name
from django_ciam_token.management.instants import duration, iso, written

_LONGEST_PEM: Final = 64 * 1024


class Command(TokenCommand):
    """Brings over a key that another system has signed with."""

    help = (
        "Bring over a private key, so that tokens that another system has signed with it still verify with "
        "our JWK Set. By default it is published as a retired key. With --active it signs from now on, and "
        "verifiers that know only this key keep working."
    )
    examples = (
        "  manage.py import_signing_key oidc.key\n"
        "  manage.py import_signing_key oidc.key --active\n"
        "  vault read -field=pem oidc | manage.py import_signing_key - --kid 2024-05"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the options."""
        parser.add_argument("file", help="A private key in PEM; - for standard input.")
        parser.add_argument(
            "--kid",
            help="What its tokens call it. By default the thumbprint of the key (RFC 7638), as "
            "django-oauth-toolkit and django-allauth have it.",
        )
        parser.add_argument(
            "--algorithm", choices=("RS256", "PS256", "ES256", "EdDSA"), help="By default that of the key."
        )
        parser.add_argument("--active", action="store_true", help="Sign with it from now on.")
        parser.add_argument(
            "--published-for",
            type=duration,
            default=PUBLISHED_FOR,
            metavar="TIME",
            help="How long a retired key stays in the JWK Set: as long as its tokens live; 30d by default.",
        )
        add_json_option(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Import the key and say what becomes of it."""
        try:
            key, is_new = import_signing_key(
                _read(options["file"]),
                kid=options["kid"],
                algorithm=options["algorithm"],
                is_active=options["active"],
                published_for=options["published_for"],
                actor=operator_name(),
            )
        except UnusableKey as error:
            raise CommandError(f"{options['file']}: {error}.") from None
        except WrongSecrets as error:
            raise CommandError(WRONG_SECRETS) from error
        except TemporarilyUnavailable as error:
            raise CommandError("The database refused. Try again.") from error
        state = key.state(timezone.now())
        if options["json"]:
            members = {"kid": key.kid, "alg": key.algorithm, "state": str(state), "new": is_new}
            self.write_json({**members, "removed_at": iso(key.removed_at)})
            return
        begin = "Imported key" if is_new else "There was already the key"
        until = f", published until {written(key.removed_at)}" if key.removed_at else ""
        self.stdout.write(f"{begin} {key.kid} ({key.algorithm}): {state}{until}.")


def _read(name: str) -> bytes:
    if name == "-":
        return sys.stdin.read(_LONGEST_PEM).encode()
    try:
        with Path(name).open("rb") as file:
            return file.read(_LONGEST_PEM)
    except OSError as error:
        raise CommandError(f"{name} can't be read: {error.strerror}.") from None
