"""``manage.py erase_user``."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser

from django_ciam_token.errors import TemporarilyUnavailable
from django_ciam_token.management.commands import TokenCommand, add_json_option
from django_ciam_token.management.wording import several
from django_ciam_token.monitoring.erasure import erase_person
from django_ciam_token.sessions.user import user_name, user_with_key


class Command(TokenCommand):
    """Takes a person out of the audit trail."""

    help = (
        "Take a person out of the audit trail: user, address and actor of their events are erased, and the "
        "events stay. Their refused refreshes are removed. Name the user by primary key, so that it works "
        "after the user was deleted. Deleting a user deletes the sessions. Logs are not touched."
    )
    examples = (
        "  manage.py erase_user 42 --dry-run\n"
        "  manage.py erase_user 42 --username alice\n"
        "  manage.py erase_user 7c9e6679-7425-40de-944b-e07fc1f90ae7 --json"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the options."""
        parser.add_argument("key", metavar="KEY", help="The primary key of the user.")
        parser.add_argument(
            "--username",
            default="",
            help="The user name, by which operators are recorded; by default that of the user, if any.",
        )
        parser.add_argument("--dry-run", action="store_true", help="Say how many events; change none.")
        add_json_option(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Erase and say how many events there were."""
        username = options["username"] or _name_of(options["key"])
        try:
            number = erase_person(user_key=options["key"], username=username, dry_run=options["dry_run"])
        except TemporarilyUnavailable as error:
            raise CommandError("The database refused before all was done. Run it again to go on.") from error
        if options["json"]:
            self.write_json({"events": number, "dry_run": options["dry_run"]})
        else:
            done = "Would erase" if options["dry_run"] else "Erased"
            self.stdout.write(f"{done} the person from {several(number, 'event')}.")


def _name_of(key: str) -> str:
    user = user_with_key(key)
    return "" if user is None else user_name(user)
