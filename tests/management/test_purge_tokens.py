from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from django.core.management import CommandError
from django.utils import timezone

from django_ciam_token.management.commands import purge_tokens
from django_ciam_token.models import EventType, RefreshToken, RevokedAccessToken, SecurityEvent
from tests.factories import live_ids, make_session, make_sessions

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)


@pytest.fixture
def _rubbish(web_client, user):
    now = timezone.now()
    make_sessions(5, web_client, user, expires_at=now - 40 * DAY)
    make_session(web_client, user)
    RevokedAccessToken.objects.create(jti=uuid.uuid4(), expires_at=now - DAY)
    SecurityEvent.objects.create(event=EventType.ISSUED, at=now - 100 * DAY)


@pytest.mark.usefixtures("_rubbish")
def test_purge_tokens_says_what_it_removed(run, errors):
    assert run("purge_tokens") == (
        "Removed 5 sessions, 1 record of a revoked access token, 0 audit events, "
        "0 signing keys, 0 records of imported tokens, 0 refused refreshes.\n"
    )
    assert errors.getvalue() == ""
    assert RefreshToken.objects.count() == len(live_ids()) == 1
    assert SecurityEvent.objects.count() == 1


@pytest.mark.usefixtures("_rubbish")
def test_purge_tokens_answers_with_json_and_removes_events_if_asked(run_json):
    assert run_json("purge_tokens", "--events-older-than", "90d") == {
        "sessions": 5,
        "revoked_access_tokens": 1,
        "events": 1,
        "signing_keys": 0,
        "foreign_tokens": 0,
        "refusals": 0,
        "finished": True,
    }


@pytest.mark.usefixtures("_rubbish")
def test_purge_tokens_stops_when_its_time_is_up(run, run_json):
    answer = run_json("purge_tokens", "--max-seconds", "0")
    assert (answer["revoked_access_tokens"], answer["sessions"], answer["finished"]) == (1, 0, False)

    text = run("purge_tokens", "--max-seconds", "0", "--batch-size", "2")
    assert text.startswith("Removed 2 sessions, ")
    assert "run it again, or for longer" in text

    assert run_json("purge_tokens", "--max-seconds", "60")["sessions"] == 3


@pytest.mark.usefixtures("_rubbish")
def test_purge_tokens_reports_progress_if_asked_or_if_it_takes_long(run, errors, monkeypatch):
    run("purge_tokens", "--batch-size", "2", "--verbosity", "2")

    lines = errors.getvalue().splitlines()
    assert [line.partition(" sessions")[0] for line in lines] == [
        f"So far: {count}" for count in (0, 2, 4, 5)
    ]
    make_sessions(3, RefreshToken.objects.get().client, expires_at=timezone.now() - 40 * DAY)
    monkeypatch.setattr(purge_tokens, "_PAUSE", 0.0)
    run("purge_tokens")
    assert errors.getvalue().splitlines()[len(lines) :] == [
        (
            "So far: 3 sessions, 0 records of revoked access tokens, 0 audit events, "
            "0 signing keys, 0 records of imported tokens, 0 refused refreshes."
        )
    ]


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("_rubbish")
def test_purge_tokens_says_how_far_it_got_when_the_database_refuses(run, refusing):
    refusing("delete", after=2)

    with pytest.raises(CommandError, match=r"refused\. Removed so far: 2 sessions, 1 record of"):
        run("purge_tokens", "--batch-size", "2")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--batch-size", "0"], "'0' is not a whole number from 1 to 100000"),
        (["--max-seconds", "soon"], "invalid float value: 'soon'"),
        (["--events-older-than", "long"], "write 90s, 15m"),
    ],
)
def test_purge_tokens_says_what_is_wrong(run, options, message):
    with pytest.raises(CommandError, match=message):
        run("purge_tokens", *options)
