"""Our codes and client credentials."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.urls import include, path
from django.utils import timezone

from benchmarks.seed import CODE_CHALLENGE, REDIRECT_URI, credentials_form, exchange_form
from django_ciam_token.caller import NOBODY
from django_ciam_token.clients.registration import create_client
from django_ciam_token.tokens.authorization_codes import issue_code

urlpatterns = [path("", include("django_ciam_token.urls"))]


def targets(sessions: int) -> dict[str, dict[str, Any]]:
    """Fill the database; return the requests by what they measure."""
    user = get_user_model().objects.create_user("alice", password="correct horse")
    client, secret = create_client(
        client_id="portal", name="Portal", application_type="web", redirect_uris=REDIRECT_URI
    )
    _, machine_secret = create_client(
        client_id="machine", name="Machine", application_type="m2m", scope="profile"
    )
    assert secret is not None
    assert machine_secret is not None

    def exchanges(number: int) -> list[str]:
        return [exchange_form("portal", secret, code()) for _ in range(number)]

    def code() -> str:
        now = timezone.now()
        code = issue_code(
            client=client,
            user=user,
            scope=("openid",),
            auth_time=now,
            redirect_uri=REDIRECT_URI,
            code_challenge=CODE_CHALLENGE,
            nonce="nonce",
            caller=NOBODY,
            now=now,
        )
        return code.reveal()

    return {
        "exchange": {"path": "/oauth2/token", "fresh_forms": exchanges},
        "client credentials": {
            "path": "/oauth2/token",
            "forms": [credentials_form("machine", machine_secret)],
        },
    }
