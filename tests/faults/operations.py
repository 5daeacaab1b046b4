"""The operations of the operator of the site under test, in a process with Django.

It reads one command per line and answers each with one line of JSON: ``begin N`` starts N sessions, ``rows``
returns their current state.
"""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from typing import Any

import django


def begin(count: int) -> dict[str, Any]:
    """Remove earlier sessions and start new ones: half of a web application, half of a mobile one."""
    from django.contrib.auth.models import User
    from django.core.management import call_command
    from django.utils import timezone

    from django_ciam_token.api import create_client, issue_tokens
    from django_ciam_token.keys import signing_keys
    from django_ciam_token.models import Client, RefreshToken, SecurityEvent, SigningKey

    call_command("migrate", verbosity=0)
    for model in (RefreshToken, Client, SigningKey):
        model.objects.all().delete()
    # Each site has its own SECRET_KEY, which does not decrypt the keys of the previous site. The new key is
    # made an hour old, as in real life, so that it is also active for hosts whose clocks are behind.
    signing_keys.rotate(immediately=True, now=timezone.now() - timedelta(hours=1))
    user, _ = User.objects.get_or_create(username="alice")
    portal, secret = create_client(client_id="portal", name="Portal", application_type="web")
    app, _ = create_client(client_id="app", name="App", application_type="mobile")
    tokens = [issue_tokens(client=(portal, app)[number % 2], user=user) for number in range(count)]
    SecurityEvent.objects.all().delete()
    return {"secret": secret, "tokens": [answer["refresh_token"] for answer in tokens]}


def rows() -> dict[str, Any]:
    """Return each session's generation and the reason if it has ended, and the number of replays."""
    from django.db import connection

    from django_ciam_token.models import EventType, RefreshToken, SecurityEvent

    # The server may have been restarted in the meantime.
    connection.close()
    sessions = RefreshToken.objects.values_list("pk", "generation", "revoked_reason")
    replays = SecurityEvent.objects.filter(event=EventType.REPLAYED).count()
    return {"sessions": {str(pk): rest for pk, *rest in sessions}, "replays": replays}


def main() -> None:
    django.setup()
    for line in sys.stdin:
        match line.split():
            case ["begin", count]:
                answer = begin(int(count))
            case ["rows"]:
                answer = rows()
            case _:
                sys.exit(__doc__)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
