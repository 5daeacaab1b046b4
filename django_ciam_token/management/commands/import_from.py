"""``manage.py import_from``."""

from __future__ import annotations

import time
from typing import Any, Final, cast

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError, CommandParser

from django_ciam_token.clients.importing import missing_scopes
from django_ciam_token.conf import ciam_settings
from django_ciam_token.errors import TemporarilyUnavailable, WrongSecrets
from django_ciam_token.integrations.importing import BATCH_SIZE, Import, Source, Summary, forget
from django_ciam_token.management.commands import WRONG_SECRETS, TokenCommand, add_json_option, count
from django_ciam_token.management.instants import instant
from django_ciam_token.management.wording import several
from django_ciam_token.sessions.foreign import make_format

# Seconds between two lines of progress.
_PAUSE: Final = 10.0
_LARGEST_BATCH: Final = 100_000
PACKAGES: Final = ("allauth", "oauth_toolkit", "simplejwt")


class Command(TokenCommand):
    """Brings over clients and live refresh tokens of another package."""

    help = (
        "Bring over the clients and the live refresh tokens of another package, so that nobody is signed "
        "out. It may be repeated, interrupted, and run while both systems serve. Nothing is written to the "
        "tables of the other package."
    )
    examples = (
        "  manage.py import_from oauth_toolkit --dry-run\n"
        "  manage.py import_from oauth_toolkit --client portal --json\n"
        "  manage.py import_from oauth_toolkit --forget   # months later, when the move is over"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the options."""
        parser.add_argument("package", choices=PACKAGES, help="Where to import from.")
        parser.add_argument("--dry-run", action="store_true", help="Write nothing; say what would be done.")
        parser.add_argument("--client", metavar="CLIENT_ID", help="Only this client and its tokens.")
        parser.add_argument(
            "--since",
            type=instant,
            metavar="WHEN",
            help="Only tokens issued since then: a date, a time, or 7d for seven days ago.",
        )
        parser.add_argument(
            "--batch-size",
            type=count(_LARGEST_BATCH),
            default=BATCH_SIZE,
            help=f"How many tokens to import in one transaction; {BATCH_SIZE} by default.",
        )
        parser.add_argument(
            "--forget",
            action="store_true",
            help="Instead, forget which tokens of the package have become sessions. The sessions stay. Only "
            "once FOREIGN_TOKENS does not list the package any more.",
        )
        add_json_option(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Import, and say what was left out."""
        if options["forget"]:
            self._forget(options["package"], as_json=options["json"])
            return
        run = self._import(options)
        try:
            summary = run.run()
        except WrongSecrets as error:
            raise CommandError(WRONG_SECRETS) from error
        except TemporarilyUnavailable as error:
            raise CommandError(
                f"The database refused. So far: {_text(run.summary)} Run it again to continue."
            ) from error
        if options["json"]:
            self.write_json(summary.members())
        else:
            self._tell(summary, dry_run=options["dry_run"])
        if options["package"] not in ciam_settings.FOREIGN_TOKENS:
            self.stderr.write(
                f"Nothing that was imported is accepted yet: add {options['package']!r} to "
                "CIAM_TOKEN['FOREIGN_TOKENS']."
            )

    def _import(self, options: dict[str, Any]) -> Import:
        name = options["package"]
        configured: Any = ciam_settings.FOREIGN_TOKENS.get(name, {})
        if name == "simplejwt" and options["client"]:
            # It knows no clients, so whose tokens they are is for the operator to say.
            configured = {**configured, "client_id": options["client"]}
        try:
            source = cast("Source", make_format(name, configured))
        except ImproperlyConfigured as error:
            raise CommandError(str(error)) from error
        problem = source.problem()
        if problem:
            raise CommandError(problem)
        missing = missing_scopes(source.scopes())
        if missing:
            # A session whose scope its client is not allowed can't be refreshed.
            names = ", ".join(sorted(missing))
            raise CommandError(f"Add these scopes to CIAM_TOKEN['SCOPES'] first: {names}.")
        return Import(
            name=name,
            source=source,
            client_id=options["client"],
            since=options["since"],
            dry_run=options["dry_run"],
            batch_size=options["batch_size"],
            on_progress=self._progress(options["verbosity"]),
        )

    def _progress(self, verbosity: int) -> Any:
        # Silent if it is quick; with --verbosity 2 it reports every batch.
        pause, told_at = 0.0 if verbosity > 1 else _PAUSE, time.monotonic()

        def progress(summary: Summary) -> None:
            nonlocal told_at
            if time.monotonic() - told_at >= pause:
                told_at = time.monotonic()
                self.stderr.write(f"So far: {_text(summary)}", style_func=str)

        return progress

    def _tell(self, summary: Summary, *, dry_run: bool) -> None:
        self.stdout.write(f"{'Would do' if dry_run else 'Done'}: {_text(summary)}")
        for remark in summary.remarks:
            self.stdout.write(f"  {remark}")
        for reason, number in sorted(summary.tokens_left_out.items()):
            self.stdout.write(f"  {several(number, 'token')} left out: {reason}")
        if summary.tokens_shortened:
            self.stdout.write(
                f"  {several(summary.tokens_shortened, 'session')} shorter than in the other system, "
                "because of SESSION_LIFETIME or the session lifetime of their client"
            )

    def _forget(self, name: str, *, as_json: bool) -> None:
        if name in ciam_settings.FOREIGN_TOKENS:
            raise CommandError(
                f"Take {name!r} out of CIAM_TOKEN['FOREIGN_TOKENS'] first: a token that was used here could "
                "become a second session."
            )
        forgotten = forget(name)
        if as_json:
            self.write_json({"forgotten": forgotten})
        else:
            self.stdout.write(f"Forgot {several(forgotten, 'token')} of {name}.")


def _text(summary: Summary) -> str:
    return (
        f"{_both(summary.clients_imported, summary.tokens_imported)} imported, "
        f"{_both(summary.clients_known, summary.tokens_known)} known before, "
        f"{_both(summary.clients_left_out, summary.tokens_left_out.total())} left out, "
        f"{several(summary.sessions_dropped, 'session')} dropped whose token has ended there."
    )


def _both(clients: int, tokens: int) -> str:
    return f"{several(clients, 'client')} and {several(tokens, 'token')}"
