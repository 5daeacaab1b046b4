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

from django_ciam_token.crypto.authorization_code_string import challenge_of
from tests.faults.chains import REDIRECT_URI, VERIFIER


def begin(count: int) -> dict[str, Any]:
    """Remove earlier sessions and start new ones: half of a web application, half of a mobile one.

    The second half is codes that are still to be exchanged.
    """
    from django.contrib.auth.models import User
    from django.core.management import call_command
    from django.utils import timezone

    from django_ciam_token.api import create_client, issue_tokens
    from django_ciam_token.caller import NOBODY
    from django_ciam_token.keys import signing_keys
    from django_ciam_token.models import Client, RefreshToken, SecurityEvent, SigningKey
    from django_ciam_token.tokens.authorization_codes import issue_code

    call_command("migrate", verbosity=0)
    for model in (RefreshToken, Client, SigningKey):
        model.objects.all().delete()
    # Each site has its own SECRET_KEY, which does not decrypt the keys of the previous site. The new key is
    # made an hour old, as in real life, so that it is also active for hosts whose clocks are behind.
    signing_keys.rotate(immediately=True, now=timezone.now() - timedelta(hours=1))
    user, _ = User.objects.get_or_create(username="alice")
    uris = {"redirect_uris": REDIRECT_URI}
    portal, secret = create_client(client_id="portal", name="Portal", application_type="web", **uris)
    app, _ = create_client(client_id="app", name="App", application_type="mobile", **uris)

    def first(number: int) -> str:
        client = (portal, app)[number % 2]
        if number < count / 2:
            return str(issue_tokens(client=client, user=user)["refresh_token"])
        now = timezone.now()
        code = issue_code(
            client=client,
            user=user,
            scope=("openid",),
            auth_time=now,
            redirect_uri=REDIRECT_URI,
            code_challenge=challenge_of(VERIFIER),
            nonce="nonce",
            caller=NOBODY,
            now=now,
        )
        return code.reveal()

    tokens = [first(number) for number in range(count)]
    SecurityEvent.objects.all().delete()
    return {"secret": secret, "tokens": tokens}


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
