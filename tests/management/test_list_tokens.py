from __future__ import annotations

import time
from datetime import datetime, timedelta
from datetime import timezone as datetime_timezone

import pytest
from django.core.management import CommandError
from django.test import override_settings
from django.utils import timezone

from django_ciam_token.api import issue_tokens
from django_ciam_token.errors import TemporarilyUnavailable
from django_ciam_token.models import RefreshToken
from tests.factories import UserFactory, make_session, make_sessions

pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def test_list_tokens_describes_each_session(run_json, web_client, user, refresh):
    issued = issue_tokens(client=web_client, user=user, scope="openid email")
    refresh(web_client, issued["refresh_token"])
    session = RefreshToken.objects.get()

    listed = run_json("list_tokens", "--user", user.username)

    refreshed = datetime.fromisoformat(listed["sessions"][0].pop("last_refreshed_at"))
    assert abs(refreshed - session.rotated_at) < timedelta(seconds=5)
    assert listed == {
        "sessions": [
            {
                "session_id": str(session.pk),
                "client_id": web_client.client_id,
                "client_name": web_client.name,
                "user": user.username,
                "scope": "openid email",
                "started_at": session.issued_at.isoformat(),
                "expires_at": session.expires_at.isoformat(),
                "address": "127.0.0.1",
                "user_agent": "",
            }
        ]
    }


@override_settings(TIME_ZONE="America/Chicago")
def test_list_tokens_shows_a_table_newest_first(run, errors, web_client, machine, user, settings):
    settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, "SESSION_LIFETIME": None}
    at = datetime(2026, 3, 1, 12, 30, 15, tzinfo=datetime_timezone.utc)
    first = make_session(
        web_client,
        user,
        issued_at=at,
        rotated_at=at + HOUR,
        last_address="2001:db8::1",
        last_user_agent="Firefox",
    )
    time.sleep(0.002)
    second = make_session(machine, issued_at=at)

    header, newest, oldest = run("list_tokens").splitlines()

    assert header.split() == ["session", "user", "client", "scope", "started", "last", "refreshed", "from"]
    assert newest.split() == [
        str(second.pk), "-", machine.client_id, "openid", "2026-03-01", "06:30:15-06:00", "-", "-",
    ]  # fmt: skip
    assert oldest.split() == [
        str(first.pk), user.username, web_client.client_id, "openid", "2026-03-01", "06:30:15-06:00",
        "2026-03-01", "07:30:15-06:00", "2001:db8::1", "Firefox",
    ]  # fmt: skip
    for line in (newest, oldest):
        assert line.index("2026") == header.index("started")
    assert errors.getvalue() == ""


def test_list_tokens_filters_and_says_when_there_are_more(
    run, run_json, errors, web_client, spa_client, user
):
    make_sessions(3, web_client, user)
    make_sessions(2, spa_client, user)
    make_sessions(2, spa_client, UserFactory())
    make_session(spa_client, user, revoked_at=timezone.now())

    assert len(run_json("list_tokens")["sessions"]) == 7
    assert len(run_json("list_tokens", "--client", spa_client.client_id)["sessions"]) == 4
    both = ["--user", user.username, "--client", spa_client.client_id]
    assert len(run_json("list_tokens", *both, "--limit", "2")["sessions"]) == 2
    assert errors.getvalue() == ""
    assert len(run_json("list_tokens", *both, "--limit", "1")["sessions"]) == 1
    assert errors.getvalue() == "There are more than these 1; show more with --limit.\n"
    RefreshToken.objects.all().delete()
    assert run("list_tokens") == "No live sessions.\n"


def test_list_tokens_says_what_is_wrong(run, monkeypatch):
    for options, message, code in [
        (["--user", "nobody"], "There is no user 'nobody'", 1),
        (["--client", "nobody"], "There is no client 'nobody'", 1),
        (["--limit", "0"], "'0' is not a whole number from 1 to 1000000", 1),
        (["--limit", "9" * 19], "is not a whole number", 1),
    ]:
        with pytest.raises(CommandError, match=message) as caught:
            run("list_tokens", *options)
        assert caught.value.returncode == code

    def refuse(**_):
        raise TemporarilyUnavailable

    monkeypatch.setattr("django_ciam_token.management.commands.list_sessions.list_sessions", refuse)
    with pytest.raises(CommandError, match="The database refused"):
        run("list_tokens")
