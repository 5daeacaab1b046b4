from __future__ import annotations

import sys
import uuid
from datetime import datetime, timedelta
from datetime import timezone as datetime_timezone
from functools import partial
from io import StringIO

import pytest
from django.core.management import CommandError
from django.utils import timezone

from django_ciam_token.api import issue_tokens
from django_ciam_token.errors import TemporarilyUnavailable
from django_ciam_token.management.commands import revoke_sessions
from django_ciam_token.models import RefreshToken
from django_ciam_token.tokens import access_tokens
from tests.factories import ClientFactory, UserFactory, live_ids, make_session, make_sessions

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)


def test_revoke_tokens_ends_only_sessions_that_match_every_option(run, web_client, spa_client, user):
    ago = timezone.now() - 5 * DAY
    chosen = make_session(web_client, user, issued_at=ago)
    spared = {
        make_session(web_client, UserFactory(), issued_at=ago).pk,
        make_session(spa_client, user, issued_at=ago).pk,
        make_session(web_client, user).pk,
        make_session(web_client, user, issued_at=ago, rotated_at=timezone.now()).pk,
    }
    options = ["--user", user.username, "--client", web_client.client_id]

    text = run("revoke_tokens", *options, "--idle-since", "2d", "--issued-before", "1d", "--no-input")

    assert text.startswith(
        f"Ended 1 session (user {user.username}, client {web_client.client_id}, issued bef"
    )
    assert live_ids() == spared
    ended = RefreshToken.objects.get(pk=chosen.pk)
    assert ended.revoked_reason == "operator"


def test_revoke_tokens_accepts_each_option_alone(run, web_client, spa_client, user):
    now = timezone.now()
    of_user = make_session(web_client, user)
    by_id = make_session(web_client, UserFactory())
    by_client = make_session(spa_client, UserFactory())
    idle = make_session(web_client, UserFactory(), issued_at=now - 9 * DAY, rotated_at=now - 3 * DAY)
    old = make_session(web_client, UserFactory(), issued_at=now - 9 * DAY, rotated_at=now)
    last = make_session(web_client, UserFactory())
    live = {session.pk for session in (of_user, by_id, by_client, idle, old, last)}
    iso = (now - 8 * DAY).isoformat()

    for options, ended, whose in [
        (["--user", user.username], of_user, f"user {user.username}"),
        (["--session", str(by_id.pk)], by_id, f"session id {by_id.pk}"),
        (["--client", spa_client.client_id], by_client, f"client {spa_client.client_id}"),
        (["--idle-since", "2d"], idle, "idle since 20"),
        (["--issued-before", iso], old, "issued before 20"),
        (["--all"], last, "all"),
    ]:
        text = run("revoke_tokens", *options, "--no-input")

        assert text.startswith(f"Ended 1 session ({whose}")
        live -= {ended.pk}
        assert live_ids() == live
    assert run("revoke_tokens", "--all", "--no-input") == "Ended 0 sessions (all).\n"


def test_revoke_tokens_ends_nothing_without_options(run, web_client, user):
    make_session(web_client, user)

    with pytest.raises(CommandError, match="Say which sessions to end: --user") as caught:
        run("revoke_tokens", "--no-input")

    assert caught.value.returncode == 2
    assert len(live_ids()) == 1


def test_revoke_tokens_in_a_dry_run_says_how_many_and_changes_nothing(
    run, run_json, web_client, user, traces
):
    make_sessions(3, web_client, user)
    make_session(web_client, UserFactory())
    before = list(RefreshToken.objects.order_by("pk").values())
    options = ["revoke_tokens", "--user", user.username, "--dry-run"]

    assert run(*options) == f"Would end 3 sessions (user {user.username}).\n"
    assert run_json(*options) == {"sessions": 3, "dry_run": True}

    assert list(RefreshToken.objects.order_by("pk").values()) == before
    assert traces.signalled == []


@pytest.mark.parametrize("answer", ["no\n", "\n", "", "y\n", "yesterday\n"])
def test_revoke_tokens_that_is_not_confirmed_changes_nothing(run, errors, typed, web_client, user, answer):
    make_sessions(2, web_client, user)
    typed(answer)

    with pytest.raises(CommandError, match="Nothing was changed"):
        run("revoke_tokens", "--user", user.username)

    assert errors.getvalue() == f"This ends 2 sessions (user {user.username}). Continue? Type yes: "
    assert len(live_ids()) == 2


def test_revoke_tokens_that_is_confirmed_answers_with_nothing_but_json(run_json, typed, web_client, user):
    make_sessions(2, web_client, user)
    typed("Yes\n")

    assert run_json("revoke_tokens", "--all") == {"sessions": 2, "dry_run": False}

    assert live_ids() == set()


def test_revoke_tokens_finds_the_session_of_any_generation_of_a_refresh_token(
    run, typed, web_client, user, refresh
):
    for generation in range(4):
        tokens = [issue_tokens(client=web_client, user=user)["refresh_token"]]
        session = RefreshToken.objects.latest("pk").pk
        spared = make_session(web_client, user).pk
        for _ in range(3):
            tokens.append(refresh(web_client, tokens[-1]).json()["refresh_token"])
        typed(f"  {tokens[generation]}\n")

        text = run("revoke_tokens", "--token", "--no-input")

        assert text == f"Ended 1 session (session id {session}).\n"
        assert refresh(web_client, tokens[-1]).json() == {"error": "invalid_grant"}
        assert spared in live_ids()


def test_revoke_tokens_finds_the_session_of_an_access_token(run, typed, web_client, user, refresh):
    tokens = issue_tokens(client=web_client, user=user)
    typed(tokens["access_token"])

    run("revoke_tokens", "--token", "--no-input")

    assert live_ids() == set()


def test_revoke_tokens_asks_for_a_token_without_showing_it(run, monkeypatch, web_client, user):
    token = issue_tokens(client=web_client, user=user)["refresh_token"]

    class Terminal(StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stdin", Terminal("yes\n"))
    monkeypatch.setattr(revoke_sessions, "getpass", lambda prompt: token)

    assert token not in run("revoke_tokens", "--token")

    assert live_ids() == set()


def test_revoke_tokens_refuses_a_string_that_is_not_a_token_of_this_service(run, typed, web_client, user):
    tokens = issue_tokens(client=web_client, user=user)
    forged = tokens["refresh_token"][:-2] + ("AA" if tokens["refresh_token"][-2:] != "AA" else "BB")

    for text in ["", "x", forged, tokens["access_token"][:-4] + "AAAA", tokens["id_token"]]:
        typed(text)
        with pytest.raises(CommandError, match=r"^That is neither a refresh token nor an access token"):
            run("revoke_tokens", "--token", "--no-input")

    assert len(live_ids()) == 1


def test_revoke_tokens_says_that_an_access_token_has_no_session(run, typed):
    machine = ClientFactory(application_type="m2m", refresh_tokens_enabled=False)
    typed(issue_tokens(client=machine)["access_token"])

    with pytest.raises(CommandError, match="belongs to no session"):
        run("revoke_tokens", "--token", "--no-input")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--user", "nobody"], "There is no user 'nobody'"),
        (["--user", ""], "There is no user ''"),
        (["--client", "nobody"], "There is no client 'nobody'"),
        (["--session", "nobody"], "invalid UUID value: 'nobody'"),
        (["--session", str(uuid.uuid4()), "--token"], "not allowed with argument"),
        (["--issued-before", "yesterday"], "'yesterday' is not a time; write 2026-03-01, "),
        (["--idle-since", "2026-02-30"], "'2026-02-30': day "),
        (["--idle-since", "7"], "is not a time"),
        (["--idle-since", "999999w"], "is not a time"),
    ],
)
def test_revoke_tokens_says_what_is_wrong(run, web_client, user, options, message):
    make_session(web_client, user)

    with pytest.raises(CommandError, match=message):
        run("revoke_tokens", *options, "--no-input")

    assert len(live_ids()) == 1


@pytest.mark.django_db(transaction=True)
def test_revoke_tokens_says_how_far_it_got_when_the_database_refuses(
    run, refusing, web_client, user, monkeypatch
):
    make_sessions(5, web_client, user)
    revoke = revoke_sessions.revoke_sessions
    monkeypatch.setattr(revoke_sessions, "revoke_sessions", partial(revoke, batch_size=2))
    refusing("update", after=1)

    with pytest.raises(CommandError, match=r"refused after 2 sessions\. Run it again"):
        run("revoke_tokens", "--all", "--no-input")

    assert len(live_ids()) == 3


def test_revoke_tokens_reports_progress_if_asked(run, errors, web_client, user):
    make_sessions(2, web_client, user)

    run("revoke_tokens", "--all", "--no-input", "--verbosity", "2")

    assert errors.getvalue() == "2 sessions ended so far\n"


@pytest.mark.django_db(transaction=True)
def test_revoke_tokens_changes_nothing_if_it_can_not_count_the_sessions(run, refusing, web_client, user):
    make_session(web_client, user)
    refusing("count")

    with pytest.raises(CommandError, match="nothing was changed"):
        run("revoke_tokens", "--all")


def test_revoke_tokens_changes_nothing_if_the_keys_can_not_be_read(run, typed, monkeypatch, web_client, user):
    make_session(web_client, user)

    def refuse(*args, **kwargs):
        raise TemporarilyUnavailable

    monkeypatch.setattr(access_tokens, "verify", refuse)
    typed("x")

    with pytest.raises(CommandError, match="nothing was changed"):
        run("revoke_tokens", "--token", "--no-input")


def test_instants_are_read_in_the_sites_time_zone(settings):
    settings.TIME_ZONE = "Europe/Berlin"
    utc = datetime_timezone.utc
    read = revoke_sessions.instant

    assert read("2026-03-01") == datetime(2026, 2, 28, 23, tzinfo=utc)
    assert read("2026-03-01T12:00") == datetime(2026, 3, 1, 11, tzinfo=utc)
    assert read("2026-03-01 12:00:30+05:00") == datetime(2026, 3, 1, 7, 0, 30, tzinfo=utc)
    assert abs(timezone.now() - read("7d") - 7 * DAY) < timedelta(seconds=5)
    settings.USE_TZ = False
    assert read("2026-03-01T12:00") == datetime(2026, 3, 1, 12)  # noqa: DTZ001
    assert read("2026-03-01T12:00Z") == datetime(2026, 3, 1, 13)  # noqa: DTZ001
    assert read("7d").tzinfo is None


def test_a_dry_run_also_counts_sessions_that_expired_recently(run_json, web_client, user):
    make_session(web_client, user, expires_at=timezone.now() - timedelta(minutes=1))

    for options in (["--dry-run"], ["--no-input"]):
        assert run_json("revoke_tokens", "--user", user.username, *options)["sessions"] == 1
