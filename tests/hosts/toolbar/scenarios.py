"""What the toolbar records of refreshes; run as a program, it prints what holds."""

from __future__ import annotations

from urllib.parse import urlencode

import django

django.setup()

from django.contrib.auth import get_user_model  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.test import Client as Browser  # noqa: E402

from django_ciam_token.api import create_client, issue_tokens  # noqa: E402
from tests.hosts.toolbar import panel  # noqa: E402


def main() -> None:
    call_command("migrate", verbosity=0)
    client, _ = create_client(name="Portal", client_id="portal", application_type="spa")
    user = get_user_model().objects.create_user("somebody")
    token = issue_tokens(client=client, user=user)["refresh_token"]

    def refresh(**headers: str) -> None:
        nonlocal token
        form = {"grant_type": "refresh_token", "client_id": "portal", "refresh_token": token}
        content_type = "application/x-www-form-urlencoded"
        answer = Browser().post("/oauth2/token", urlencode(form), content_type, **headers)
        assert answer.status_code == 200, answer.content
        token = answer.json()["refresh_token"]

    refresh()
    for _ in range(4):
        refresh(HTTP_X_SHOW="1")
    shown = [seen.number() for seen in panel.panels]
    assert shown[1:] == [shown[1]] * 3, shown
    assert shown[1] >= 2, shown
    assert shown[0] >= shown[1], shown
    print("passed every_request_shows_its_own_queries")
    refresh()
    assert [seen.number() for seen in panel.panels] == shown
    print("passed no_panel_goes_on_collecting")


if __name__ == "__main__":
    main()
