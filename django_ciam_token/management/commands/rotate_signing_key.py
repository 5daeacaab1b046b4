"""``manage.py rotate_signing_key``."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db.models import Q
from django.utils import timezone

from django_ciam_token.conf import SIGNING_ALGORITHMS, ciam_settings
from django_ciam_token.database.retry import UNAVAILABLE, mend, read_rows
from django_ciam_token.database.routing import write_database
from django_ciam_token.errors import TemporarilyUnavailable, WrongSecrets
from django_ciam_token.keys import signing_keys
from django_ciam_token.management.commands import (
    WRONG_SECRETS,
    TokenCommand,
    add_json_option,
    add_no_input_option,
    operator_name,
)
from django_ciam_token.management.instants import duration, iso, written
from django_ciam_token.management.wording import several
from django_ciam_token.models import RefreshToken, SigningKey, SigningKeyState
from django_ciam_token.models.client import longest_token_lifetime


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
        "  manage.py rotate_signing_key --lead 14d       # announced for two weeks before it signs\n"
        "  manage.py rotate_signing_key --now            # do not wait: no key can sign\n"
        "  manage.py rotate_signing_key --compromised --dry-run\n"
        "  manage.py rotate_signing_key --compromised    # the private key was leaked; asks first"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the options."""
        parser.add_argument("--algorithm", choices=SIGNING_ALGORITHMS, help="SIGNING_ALGORITHM by default.")
        when = parser.add_mutually_exclusive_group()
        when.add_argument(
            "--lead",
            type=duration,
            help="How long the key is published before it signs (14d, 36h); SIGNING_KEY_LEAD by default, and "
            "at least that. A rotation before then takes the place of this one.",
        )
        when.add_argument(
            "--now",
            action="store_true",
            help="Sign with it at once. Verifiers refuse its tokens until they fetch the JWK Set again.",
        )
        parser.add_argument(
            "--compromised",
            action="store_true",
            help="Like --now, and also remove all older keys from the JWK Set: every token that they signed "
            "is refused. Asks first.",
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="Say what --compromised would end, and change nothing."
        )
        add_no_input_option(parser)
        parser.add_argument(
            "--if-older-than",
            type=duration,
            help="Do nothing while the active key has signed for less than this (90d, 12w), or while its "
            "successor is published. For a scheduler: run it daily, on one host.",
        )
        add_json_option(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Rotate and say what happens when."""
        for name in ("lead", "if_older_than"):
            if options["compromised"] and options[name] is not None:
                raise CommandError(f"--compromised can't wait: leave out --{name.replace('_', '-')}.")
        if (age := options["if_older_than"]) is not None and self._is_young(age, as_json=options["json"]):
            return
        if options["dry_run"] and not options["compromised"]:
            raise CommandError("--dry-run is for --compromised: nothing else ends anything.")
        if options["dry_run"]:
            self._report_ended(as_json=options["json"])
            return
        if options["compromised"] and not options["no_input"]:
            self.confirm(_consequence(*_ended_by_removal()))
        key = self._rotate(options)
        if options["json"]:
            self.write_json({"kid": key.kid, "alg": key.algorithm, "active_at": iso(key.active_at)})
            return
        self.stdout.write(f"Made key {key.kid} ({key.algorithm}). It signs from {written(key.active_at)} on.")

    def _rotate(self, options: dict[str, Any]) -> SigningKey:
        try:
            return signing_keys.rotate(
                algorithm=options["algorithm"],
                immediately=options["now"],
                compromised=options["compromised"],
                lead=options["lead"],
                actor=operator_name(),
            )
        except ValueError as error:
            raise CommandError(str(error)) from error
        except WrongSecrets as error:
            raise CommandError(WRONG_SECRETS) from error
        except TemporarilyUnavailable as error:
            raise CommandError(
                "The database refused; there may be a new key nevertheless. Look with list_signing_keys "
                "before you try again."
            ) from error

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

    def _report_ended(self, *, as_json: bool) -> None:
        keys, sessions = _ended_by_removal()
        if as_json:
            self.write_json({"keys": keys, "sessions": sessions, "dry_run": True})
        else:
            self.stdout.write(_consequence(keys, sessions))


def _ended_by_removal() -> tuple[int, int | None]:
    """Count the keys that are not removed yet, and the sessions whose last tokens may still be valid.

    A leaked key must be replaced even if the sessions can't be counted; there is None then.
    """
    now = timezone.now()
    keys = read_rows(SigningKey.objects.using(write_database(SigningKey)))
    present = sum(key.state(now) is not SigningKeyState.REMOVED for key in keys)
    try:
        return present, _count_recent(now)
    except UNAVAILABLE as error:
        mend(write_database(RefreshToken), error)
        return present, None


def _count_recent(now: datetime) -> int:
    valid_since = now - longest_token_lifetime()
    is_recent = Q(issued_at__gte=valid_since) | Q(rotated_at__gte=valid_since)
    using = write_database(RefreshToken)
    return RefreshToken.objects.using(using).filter(is_recent, revoked_at=None).count()


def _consequence(keys: int, sessions: int | None) -> str:
    whose = "all sessions, which can't be counted now," if sessions is None else several(sessions, "session")
    seconds = round(ciam_settings.PROCESS_CACHE_LIFETIME.total_seconds())
    return (
        f"This removes {several(keys, 'key')} from the JWK Set. The valid access tokens and id_tokens of "
        f"{whose} are refused as soon as each process has read the keys again, within {seconds} seconds "
        "(restart them to skip that); the sessions go on, and get new ones with their next refresh."
    )
