"""``manage.py revoke_sessions``."""

from __future__ import annotations

import sys
import uuid
from getpass import getpass
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.views.decorators.debug import sensitive_variables

from django_ciam_token.concealed import Concealed
from django_ciam_token.database.retry import retry
from django_ciam_token.database.routing import write_database
from django_ciam_token.errors import InvalidToken, TemporarilyUnavailable
from django_ciam_token.management.commands import (
    TokenCommand,
    add_json_option,
    add_no_input_option,
    find_client,
    find_user,
    operator_name,
)
from django_ciam_token.management.instants import instant, written
from django_ciam_token.management.wording import several
from django_ciam_token.models import RefreshToken, RevocationReason
from django_ciam_token.sessions.criteria import SessionCriteria, select_revocable
from django_ciam_token.sessions.revocation import revoke_sessions
from django_ciam_token.tokens.recognition import session_of_token


class Command(TokenCommand):
    """Ends sessions."""

    help = (
        "End sessions. Their refresh tokens are refused from now on, and so are their access tokens wherever "
        "revocation is checked. Several options together select the sessions that match all of them."
    )
    examples = (
        "  manage.py revoke_sessions --user alice\n"
        "  manage.py revoke_sessions --user alice --client customer-portal --dry-run\n"
        "  manage.py revoke_sessions --token < token.txt --no-input\n"
        "  manage.py revoke_sessions --client mobile-app --issued-before 2026-03-01T12:00+01:00\n"
        "  manage.py revoke_sessions --idle-since 7d --no-input --json\n"
        "  manage.py revoke_sessions --all"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the options."""
        parser.add_argument("--user", metavar="USERNAME", help="Sessions of this user.")
        parser.add_argument("--client", metavar="CLIENT_ID", help="Sessions of this application.")
        one = parser.add_mutually_exclusive_group()
        one.add_argument("--session", type=uuid.UUID, metavar="ID", help="The session with this id.")
        one.add_argument(
            "--token",
            action="store_true",
            help="The session of a refresh token, however old, or of an access token. The token is read from "
            "standard input or a prompt, never from the command line, where others could see it.",
        )
        when = "a date, a date with time, or how long ago, such as 90s, 15m, 12h, 7d, 2w"
        parser.add_argument(
            "--issued-before", type=instant, metavar="WHEN", help=f"Sessions begun before: {when}."
        )
        parser.add_argument(
            "--idle-since", type=instant, metavar="WHEN", help=f"Sessions not refreshed since: {when}."
        )
        parser.add_argument("--all", action="store_true", help="All sessions.")
        parser.add_argument("--dry-run", action="store_true", help="Say how many it would end, but end none.")
        add_no_input_option(parser)
        add_json_option(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Find the sessions, ask, and end them."""
        criteria = self._criteria(options)
        ends_all = options["all"]
        if not criteria.is_narrow and not ends_all:
            raise CommandError(
                "Say which sessions to end: --user, --client, --session, --token, --issued-before, "
                "--idle-since, or --all.",
                returncode=2,
            )
        whose = _describe(criteria)
        if options["dry_run"]:
            found = _count(criteria)
            self._report(f"Would end {_sessions(found)} ({whose}).", found, options)
            return
        if not options["no_input"]:
            self.confirm(f"This ends {_sessions(_count(criteria))} ({whose}).")
        ended = self._revoke(criteria, everything=ends_all, verbosity=options["verbosity"])
        self._report(f"Ended {_sessions(ended)} ({whose}).", ended, options)

    def _criteria(self, options: dict[str, Any]) -> SessionCriteria:
        return SessionCriteria(
            user=None if options["user"] is None else find_user(options["user"]),
            client=None if options["client"] is None else find_client(options["client"]),
            session_id=_session_of_token() if options["token"] else options["session"],
            issued_before=options["issued_before"],
            idle_since=options["idle_since"],
        )

    def _revoke(self, criteria: SessionCriteria, *, everything: bool, verbosity: int) -> int:
        ended = 0

        def progress(count: int) -> None:
            nonlocal ended
            ended = count
            if verbosity > 1:
                self.stderr.write(f"{_sessions(count)} ended so far", style_func=str)

        try:
            return revoke_sessions(
                criteria,
                reason=RevocationReason.OPERATOR,
                everything=everything,
                on_progress=progress,
                actor=operator_name(),
            )
        except TemporarilyUnavailable as error:
            raise CommandError(
                f"The database refused after {_sessions(ended)}. Run it again to end the rest."
            ) from error

    def _report(self, text: str, count: int, options: dict[str, Any]) -> None:
        if options["json"]:
            self.write_json({"sessions": count, "dry_run": options["dry_run"]})
        else:
            self.stdout.write(text)


@sensitive_variables()
def _session_of_token() -> uuid.UUID:
    token = Concealed((getpass("Token: ") if sys.stdin.isatty() else sys.stdin.readline()).strip())
    try:
        session_id = session_of_token(token)
    except InvalidToken:
        raise CommandError("That is neither a refresh token nor an access token of this service.") from None
    except TemporarilyUnavailable as error:
        raise CommandError("The database refused; nothing was changed. Try again.") from error
    if session_id is None:
        raise CommandError(
            "That access token belongs to no session. It expires by itself, or can be revoked at /revoke."
        )
    return session_id


def _count(criteria: SessionCriteria) -> int:
    try:
        return retry(lambda _: select_revocable(criteria).count(), using=write_database(RefreshToken))
    except TemporarilyUnavailable as error:
        raise CommandError("The database refused; nothing was changed. Try again.") from error


def _describe(criteria: SessionCriteria) -> str:
    words = {name.replace("client_id", "client"): value for name, value in criteria.described().items()}
    instants = {"issued_before": criteria.issued_before, "idle_since": criteria.idle_since}
    words |= {name: written(at) for name, at in instants.items() if at is not None}
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in words.items()) or "all"


def _sessions(count: int) -> str:
    return several(count, "session")
