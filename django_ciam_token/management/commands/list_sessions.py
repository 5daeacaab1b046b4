"""``manage.py list_sessions``."""

from __future__ import annotations

from typing import Any, Final

from django.core.management.base import CommandError, CommandParser

from django_ciam_token.errors import TemporarilyUnavailable
from django_ciam_token.management.commands import TokenCommand, add_json_option, count, find_client, find_user
from django_ciam_token.management.instants import iso, written
from django_ciam_token.management.tables import table
from django_ciam_token.sessions.listing import SessionInfo, list_sessions

_MOST: Final = 1_000_000
_COLUMNS: Final = ("session", "user", "client", "scope", "started", "last refreshed", "from")


class Command(TokenCommand):
    """Lists live sessions."""

    help = "List live sessions, newest first: those of a user, of an application, or all. Shows no token."
    examples = (
        "  manage.py list_sessions --user alice\n"
        "  manage.py list_sessions --client customer-portal --limit 20\n"
        "  manage.py list_sessions --user alice --client customer-portal --json"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the options."""
        parser.add_argument("--user", metavar="USERNAME", help="Sessions of this user.")
        parser.add_argument("--client", metavar="CLIENT_ID", help="Sessions of this application.")
        parser.add_argument(
            "--limit", type=count(_MOST), default=100, help="Show at most this many; 100 by default."
        )
        add_json_option(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Print the sessions."""
        limit = options["limit"]
        user = None if options["user"] is None else find_user(options["user"])
        client = None if options["client"] is None else find_client(options["client"])
        try:
            # Read one more than is shown, to know whether there are more.
            found = list_sessions(user=user, client=client, limit=limit + 1)
        except TemporarilyUnavailable as error:
            raise CommandError("The database refused. Try again.") from error
        listed = found[:limit]
        if options["json"]:
            self.write_json({"sessions": [_members(session) for session in listed]})
        elif listed:
            for line in table([_COLUMNS, *map(_cells, listed)]):
                self.stdout.write(line)
        else:
            self.stdout.write("No live sessions.")
        if len(found) > limit:
            self.stderr.write(f"There are more than these {limit}; show more with --limit.", style_func=str)


def _members(session: SessionInfo) -> dict[str, Any]:
    return {
        "session_id": str(session.session_id),
        "client_id": session.client_id,
        "client_name": session.client_name,
        "user": session.user,
        "scope": " ".join(session.scope),
        "started_at": iso(session.started_at),
        "last_refreshed_at": iso(session.last_refreshed_at),
        "expires_at": iso(session.expires_at),
        "address": session.address,
        "user_agent": session.user_agent,
    }


def _cells(session: SessionInfo) -> tuple[str, ...]:
    return (
        str(session.session_id),
        session.user or "-",
        session.client_id,
        " ".join(session.scope),
        written(session.started_at),
        "-" if session.last_refreshed_at is None else written(session.last_refreshed_at),
        f"{session.address or '-'} {session.user_agent}".rstrip(),
    )
