"""``manage.py purge_tokens``."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any, Final

from django.core.management.base import CommandError, CommandParser

from django_ciam_token.errors import TemporarilyUnavailable
from django_ciam_token.management.commands import TokenCommand, add_json_option, count
from django_ciam_token.management.instants import duration
from django_ciam_token.management.wording import several
from django_ciam_token.purging import BATCH_SIZE, PurgeResult, purge

# Seconds between two lines of progress.
_PAUSE: Final = 10.0
_LARGEST_BATCH: Final = 100_000


class Command(TokenCommand):
    """Removes what ended or expired long ago."""

    help = (
        "Remove sessions and signing keys that ended more than ENDED_RETENTION ago, and the records of "
        "revoked access tokens that have expired. Run it daily. It may run while the site is busy, and it "
        "may be interrupted at any point."
    )
    examples = (
        "  manage.py purge_tokens\n"
        "  manage.py purge_tokens --max-seconds 600 --json\n"
        "  manage.py purge_tokens --events-older-than 365d   # also the audit trail"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the options."""
        parser.add_argument(
            "--batch-size",
            type=count(_LARGEST_BATCH),
            default=BATCH_SIZE,
            help=f"How many rows to remove in one transaction; {BATCH_SIZE} by default.",
        )
        parser.add_argument(
            "--max-seconds",
            type=float,
            help="Stop after this time. Every run begins at the oldest session, so allow enough time to get "
            "past those that are still live.",
        )
        parser.add_argument(
            "--events-older-than",
            type=duration,
            metavar="AGE",
            help="Also remove older events of the audit trail: 12h, 90d, 52w. Without it, none are removed.",
        )
        add_json_option(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Purge and say what was removed."""
        done = PurgeResult()
        # Silent if it is quick; with --verbosity 2 it reports every batch.
        pause = 0.0 if options["verbosity"] > 1 else _PAUSE
        told_at = time.monotonic()

        def progress(so_far: PurgeResult) -> None:
            nonlocal done, told_at
            done = so_far
            if time.monotonic() - told_at >= pause:
                told_at = time.monotonic()
                self.stderr.write(f"So far: {_text(so_far)}.", style_func=str)

        try:
            result = purge(
                batch_size=options["batch_size"],
                max_seconds=options["max_seconds"],
                events_older_than=options["events_older_than"],
                on_progress=progress,
            )
        except TemporarilyUnavailable as error:
            raise CommandError(
                f"The database refused. Removed so far: {_text(done)}. Run it again to continue."
            ) from error
        if options["json"]:
            self.write_json(asdict(result))
            return
        self.stdout.write(f"Removed {_text(result)}.")
        if not result.finished:
            self.stdout.write("The time ran out before the end; run it again, or for longer.")


def _text(result: PurgeResult) -> str:
    numbers = (
        several(result.sessions, "session"),
        several(
            result.revoked_access_tokens,
            "record of a revoked access token",
            "records of revoked access tokens",
        ),
        several(result.events, "audit event"),
        several(result.signing_keys, "signing key"),
        several(result.foreign_tokens, "record of an imported token", "records of imported tokens"),
        several(result.refusals, "refused refresh", "refused refreshes"),
    )
    return ", ".join(numbers)
