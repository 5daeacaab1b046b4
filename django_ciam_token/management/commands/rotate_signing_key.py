"""``manage.py rotate_signing_key``."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser

from django_ciam_token.conf import SIGNING_ALGORITHMS
from django_ciam_token.errors import TemporarilyUnavailable
from django_ciam_token.keys import signing_keys
from django_ciam_token.management.commands import TokenCommand, add_json_option, operator_name
from django_ciam_token.management.instants import iso, written


class Command(TokenCommand):
    """Makes a new signing key."""

    help = (
        "Make a new signing key. It is published in the JWK Set first and signs SIGNING_KEY_LEAD later, so "
        "no verifier meets a key that it does not know. The current key stays published until the last "
        "token that it signed has expired."
    )
    examples = (
        "  manage.py rotate_signing_key\n"
        "  manage.py rotate_signing_key --algorithm ES256\n"
        "  manage.py rotate_signing_key --now            # do not wait: no key can sign\n"
        "  manage.py rotate_signing_key --compromised    # the private key was leaked"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the options."""
        parser.add_argument("--algorithm", choices=SIGNING_ALGORITHMS, help="SIGNING_ALGORITHM by default.")
        parser.add_argument(
            "--now",
            action="store_true",
            help="Sign with it at once. Verifiers refuse its tokens until they fetch the JWK Set again.",
        )
        parser.add_argument(
            "--compromised",
            action="store_true",
            help="Like --now, and also remove all older keys from the JWK Set: every token that they signed "
            "is refused.",
        )
        add_json_option(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Rotate and say what happens when."""
        try:
            key = signing_keys.rotate(
                algorithm=options["algorithm"],
                immediately=options["now"],
                compromised=options["compromised"],
                actor=operator_name(),
            )
        except TemporarilyUnavailable as error:
            raise CommandError(
                "The database refused; there may be a new key nevertheless. Look with list_signing_keys "
                "before you try again."
            ) from error
        if options["json"]:
            self.write_json({"kid": key.kid, "alg": key.algorithm, "active_at": iso(key.active_at)})
            return
        self.stdout.write(f"Made key {key.kid} ({key.algorithm}). It signs from {written(key.active_at)} on.")
