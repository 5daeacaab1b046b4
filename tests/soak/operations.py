"""The operations of the operator of the site of the long run, in a process with Django.

It reads one command per line and answers each with one line of JSON.

    begin N PEOPLE     start N sessions, as `tests.faults.operations` does; create people who sign in
    sign_in NAME       sign a person in to the site; return the cookie of the browser
    password NAME      change the password of a person, and sign them in with the new one
    rotate_key
    rotate_secret ID
    purge
"""

from __future__ import annotations

import json
import secrets
import sys
from datetime import timedelta
from typing import Any, Final

import django

from tests.faults import operations as faults
from tests.faults.chains import REDIRECT_URI

_ABANDONED_AFTER: Final = timedelta(seconds=60)
_TRAIL_IS_KEPT: Final = timedelta(minutes=2)


def begin(count: int, people: int) -> dict[str, Any]:
    """Return the secrets of the clients, the first tokens, a cookie for each person and the admin's pages."""
    from django.contrib.auth.models import User

    from django_ciam_token.api import create_client
    from django_ciam_token.models import Client

    begun = faults.begin(count)
    # A session that nobody refreshes ends after a minute. Those of this run are refreshed every second.
    Client.objects.update(
        refresh_token_lifetime=_ABANDONED_AFTER,
        scope="openid profile email",
        post_logout_redirect_uris=REDIRECT_URI,
    )
    _, secret = create_client(
        client_id="machine", name="Machine", application_type="m2m", may_introspect=True
    )
    names = [f"person-{number}" for number in range(people)]
    for name in names:
        User.objects.create_user(name, f"{name}@example.com", password=secrets.token_urlsafe(12))
    User.objects.create_superuser("operator", password=secrets.token_urlsafe(12))
    return {
        "tokens": begun["tokens"],
        "secrets": {"portal": begun["secret"], "machine": secret},
        "cookies": {name: sign_in(name) for name in [*names, "operator"]},
        "pages": _pages(),
    }


def _pages() -> dict[str, str]:
    """Return the pages whose speed is measured elsewhere."""
    from benchmarks.admin_pages import pages

    # The key and the event will be purged, and so few sessions do not have twenty pages.
    left_out = {"signing key", "event", "sessions, last page"}
    return {name: path for name, path in pages().items() if name not in left_out}


def sign_in(name: str) -> str:
    """Do what a login page does: begin a Django session, as a browser keeps it in a cookie."""
    from importlib import import_module

    from django.conf import settings
    from django.contrib.auth import login
    from django.contrib.auth.models import User
    from django.http import HttpRequest

    http = HttpRequest()
    http.session = import_module(settings.SESSION_ENGINE).SessionStore()
    login(http, User.objects.get(username=name), backend="django.contrib.auth.backends.ModelBackend")
    http.session.save()
    return f"{settings.SESSION_COOKIE_NAME}={http.session.session_key}"


def password(name: str) -> str:
    from django.contrib.auth.models import User

    user = User.objects.get(username=name)
    user.set_password(secrets.token_urlsafe(12))
    user.save()
    return sign_in(name)


def rotate_key() -> str:
    from django_ciam_token.api import rotate_signing_key

    return rotate_signing_key().kid


def rotate_secret(client_id: str) -> str:
    from django_ciam_token.api import rotate_client_secret
    from django_ciam_token.models import Client

    return rotate_client_secret(Client.objects.get(client_id=client_id))


def purge() -> bool:
    from django_ciam_token.api import purge as purge_tokens

    return purge_tokens(events_older_than=_TRAIL_IS_KEPT).finished


def answer(line: str) -> Any:
    match line.split():
        case ["begin", count, people]:
            return begin(int(count), int(people))
        case ["sign_in", name]:
            return sign_in(name)
        case ["password", name]:
            return password(name)
        case ["rotate_key"]:
            return rotate_key()
        case ["rotate_secret", client_id]:
            return rotate_secret(client_id)
        case ["purge"]:
            return purge()
    sys.exit(__doc__)


def main() -> None:
    django.setup()
    for line in sys.stdin:
        print(json.dumps(answer(line)), flush=True)


if __name__ == "__main__":
    main()
