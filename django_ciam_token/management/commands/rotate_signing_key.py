"""``manage.py rotate_signing_key``."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from django_ciam_token.conf import SIGNING_ALGORITHMS
from django_ciam_token.errors import TemporarilyUnavailable
from django_ciam_token.keys import signing_keys
from django_ciam_token.management.commands import TokenCommand, add_json_option, operator_name
from django_ciam_token.management.instants import duration, iso, written


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
        "  manage.py rotate_signing_key --if-older-than 90d   # for cron: does nothing until then\n"
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
        parser.add_argument(
            "--if-older-than",
            type=duration,
            help="Do nothing while the active key has signed for less than this (90d, 12w), or while its "
            "successor is published. For a scheduler: run it daily, on one host.",
        )
        add_json_option(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Rotate and say what happens when."""
        if options["compromised"] and options["if_older_than"] is not None:
            raise CommandError("--compromised can't wait: leave out --if-older-than.")
        if (age := options["if_older_than"]) is not None and self._is_young(age, as_json=options["json"]):
            return
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

    def _is_young(self, age: timedelta, *, as_json: bool) -> bool:
        """Tell whether there is nothing to rotate yet, and say so."""
        try:
            key = signing_keys.key_younger_than(age, timezone.now())
        except TemporarilyUnavailable as error:
            raise CommandError("The database refused; nothing was changed. Try again.") from error
        if key is None:
            return False
        if as_json:
            self.write_json({"kid": key.kid, "alg": key.algorithm, "active_at": iso(key.active_at)})
        else:
            self.stdout.write(f"Nothing to do: key {key.kid} signs from {written(key.active_at)} on.")
        return True
