"""``manage.py list_signing_keys``."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.core.management.base import CommandParser
from django.utils import timezone

from django_ciam_token.database.routing import write_database
from django_ciam_token.keys import key_set
from django_ciam_token.management.commands import TokenCommand, add_json_option
from django_ciam_token.management.instants import iso, written
from django_ciam_token.models import SigningKey, SigningKeyState


class Command(TokenCommand):
    """Lists the signing keys."""

    help = "List the signing keys and when each was or will be published, active, retired and removed."
    examples = "  manage.py list_signing_keys\n  manage.py list_signing_keys --json"

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the options."""
        add_json_option(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Print the keys, newest first."""
        now = timezone.now()
        keys = list(SigningKey.objects.using(write_database(SigningKey)))
        if options["json"]:
            self.write_json({"keys": [_members(key, now) for key in keys]})
            return
        for key in keys:
            self.stdout.write(f"{key.kid}  {key.algorithm}  {key.state(now).value}")
            for what, at in _life(key).items():
                self.stdout.write(f"    {what:<10} {written(at) if at else '-'}")
        if key_set.active_key(keys, now) is None:
            self.stderr.write("No key is active. Make one with: manage.py rotate_signing_key --now")


def _life(key: SigningKey) -> dict[str, datetime | None]:
    return {
        SigningKeyState.PUBLISHED.value: key.created_at,
        SigningKeyState.ACTIVE.value: key.active_at,
        SigningKeyState.RETIRED.value: key.retired_at,
        SigningKeyState.REMOVED.value: key.removed_at,
    }


def _members(key: SigningKey, now: datetime) -> dict[str, Any]:
    life = {f"{name}_at": iso(at) for name, at in _life(key).items()}
    return {"kid": key.kid, "alg": key.algorithm, "state": key.state(now).value, **life}
