from __future__ import annotations

import json
import sys
import time
import uuid
from datetime import datetime, timedelta
from datetime import timezone as datetime_timezone
from functools import partial
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError
from django.db.models import QuerySet
from django.utils import timezone

from django_ciam_token.api import issue_tokens
from django_ciam_token.database import retry
from django_ciam_token.errors import TemporarilyUnavailable
from django_ciam_token.management import commands
from django_ciam_token.management.commands import purge_tokens, revoke_tokens
from django_ciam_token.models import EventType, RefreshToken, RevokedAccessToken, SecurityEvent
from django_ciam_token.tokens import access_tokens
from tests.factories import ClientFactory, UserFactory
from tests.sessions.test_revocation import live_ids, make_session, make_sessions

pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


@pytest.fixture
def errors():
    """What the commands write to standard error."""
    return StringIO()


@pytest.fixture
def run(errors):
    """Run a command and return what it wrote to standard output."""

    def run(*arguments):
        output = StringIO()
        call_command(*arguments, stdout=output, stderr=errors)
        return output.getvalue()

    return run


@pytest.fixture
def run_json(run):
    """Run a command with --json; what it wrote must be one JSON object and nothing else."""
    return lambda *arguments: json.loads(run(*arguments, "--json"))


@pytest.fixture
def typed(monkeypatch):
    """Let standard input be this text."""
    return lambda text: monkeypatch.setattr(sys, "stdin", StringIO(text))


@pytest.fixture
def refusing(monkeypatch):
    """Let the database refuse what a method of querysets asks for, after some calls."""
    monkeypatch.setattr(retry.time, "sleep", lambda _: None)

    def refuse(method, *, after=0):
        original = getattr(QuerySet, method)
        calls = []

        def wrapper(self, *args, **kwargs):
            calls.append(1)
            if len(calls) > after:
                raise OperationalError("gone")
            return original(self, *args, **kwargs)

        monkeypatch.setattr(QuerySet, method, wrapper)

    return refuse


@pytest.mark.parametrize("command", ["revoke_tokens", "purge_tokens", "list_tokens"])
def test_help_ends_with_examples(command, capsys):
    with pytest.raises(SystemExit) as end:
        call_command(command, "--help")

    assert end.value.code == 0
    examples = capsys.readouterr().out.partition("Examples:\n")[2]
    assert f"  manage.py {command}" in examples


# --- revoke_tokens ---------------------------------------------------------------------------------


def test_revoke_tokens_ends_what_meets_every_option(run, web_client, spa_client, user):
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


def test_revoke_tokens_by_each_option_alone(run, web_client, spa_client, user):
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


def test_revoke_tokens_ends_nothing_unless_told_what(run, web_client, user):
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
    monkeypatch.setattr(revoke_tokens, "getpass", lambda prompt: token)

    assert token not in run("revoke_tokens", "--token")

    assert live_ids() == set()


def test_revoke_tokens_refuses_what_is_no_token_of_this_service(run, typed, web_client, user):
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


def test_instants_are_read_in_the_sites_time_zone(settings):
    settings.TIME_ZONE = "Europe/Berlin"
    utc = datetime_timezone.utc
    read = revoke_tokens.instant

    assert read("2026-03-01") == datetime(2026, 2, 28, 23, tzinfo=utc)
    assert read("2026-03-01T12:00") == datetime(2026, 3, 1, 11, tzinfo=utc)
    assert read("2026-03-01 12:00:30+05:00") == datetime(2026, 3, 1, 7, 0, 30, tzinfo=utc)
    assert abs(timezone.now() - read("7d") - 7 * DAY) < timedelta(seconds=5)
    settings.USE_TZ = False
    assert read("2026-03-01T12:00") == datetime(2026, 3, 1, 12)  # noqa: DTZ001
    assert read("2026-03-01T12:00Z") == datetime(2026, 3, 1, 13)  # noqa: DTZ001
    assert read("7d").tzinfo is None


@pytest.mark.django_db(transaction=True)
def test_revoke_tokens_says_how_far_it_came_when_the_database_refuses(
    run, refusing, web_client, user, monkeypatch
):
    make_sessions(5, web_client, user)
    revoke = revoke_tokens.revoke_sessions
    monkeypatch.setattr(revoke_tokens, "revoke_sessions", partial(revoke, batch_size=2))
    refusing("update", after=1)

    with pytest.raises(CommandError, match=r"refused after 2 sessions\. Run it again"):
        run("revoke_tokens", "--all", "--no-input")

    assert len(live_ids()) == 3


def test_a_dry_run_counts_those_that_expired_lately_as_well(run_json, web_client, user):
    make_session(web_client, user, expires_at=timezone.now() - timedelta(minutes=1))

    for options in (["--dry-run"], ["--no-input"]):
        assert run_json("revoke_tokens", "--user", user.username, *options)["sessions"] == 1


def test_revoke_tokens_tells_its_progress_if_asked(run, errors, web_client, user):
    make_sessions(2, web_client, user)

    run("revoke_tokens", "--all", "--no-input", "--verbosity", "2")

    assert errors.getvalue() == "2 sessions ended so far\n"


@pytest.mark.django_db(transaction=True)
def test_revoke_tokens_changes_nothing_if_it_can_not_even_count(run, refusing, web_client, user):
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


# --- list_tokens -----------------------------------------------------------------------------------


def test_list_tokens_tells_what_a_session_is(run_json, web_client, user, refresh):
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
        str(second.pk), "-", machine.client_id, "openid", "2026-03-01", "12:30:15", "-", "-",
    ]  # fmt: skip
    assert oldest.split() == [
        str(first.pk), user.username, web_client.client_id, "openid", "2026-03-01", "12:30:15", "2026-03-01",
        "13:30:15", "2001:db8::1", "Firefox",
    ]  # fmt: skip
    for line in (newest, oldest):
        assert line.index("2026") == header.index("started")
    assert errors.getvalue() == ""


def test_list_tokens_narrows_and_says_when_there_are_more(
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
        (["--limit", "0"], "--limit must be at least 1", 2),
    ]:
        with pytest.raises(CommandError, match=message) as caught:
            run("list_tokens", *options)
        assert caught.value.returncode == code

    def refuse(**_):
        raise TemporarilyUnavailable

    monkeypatch.setattr("django_ciam_token.management.commands.list_tokens.list_sessions", refuse)
    with pytest.raises(CommandError, match="The database refused"):
        run("list_tokens")


# --- purge_tokens ----------------------------------------------------------------------------------


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
        "Removed 5 sessions, 1 records of revoked access tokens, 0 audit events, 0 signing keys.\n"
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
def test_purge_tokens_tells_its_progress_if_asked_or_if_it_takes_long(run, errors, monkeypatch):
    run("purge_tokens", "--batch-size", "2", "--verbosity", "2")

    lines = errors.getvalue().splitlines()
    assert [line.partition(" sessions")[0] for line in lines] == [
        f"So far: {count}" for count in (0, 2, 4, 5)
    ]
    make_sessions(3, RefreshToken.objects.get().client, expires_at=timezone.now() - 40 * DAY)
    monkeypatch.setattr(purge_tokens, "_PAUSE", 0.0)
    run("purge_tokens")
    assert errors.getvalue().splitlines()[len(lines) :] == [
        "So far: 3 sessions, 0 records of revoked access tokens, 0 audit events, 0 signing keys."
    ]


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("_rubbish")
def test_purge_tokens_says_how_far_it_came_when_the_database_refuses(run, refusing):
    refusing("delete", after=2)

    with pytest.raises(CommandError, match=r"refused\. Removed so far: 2 sessions, 1 records"):
        run("purge_tokens", "--batch-size", "2")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--batch-size", "0"], "--batch-size must be at least 1"),
        (["--max-seconds", "soon"], "invalid float value: 'soon'"),
        (["--events-older-than", "long"], "write 90s, 15m"),
    ],
)
def test_purge_tokens_says_what_is_wrong(run, options, message):
    with pytest.raises(CommandError, match=message) as caught:
        run("purge_tokens", *options)

    if options == ["--batch-size", "0"]:  # The parser of options ends the process by itself.
        assert caught.value.returncode == 2


@pytest.mark.django_db(transaction=True)
def test_the_operator_is_named_even_where_the_account_has_no_name(run, web_client, user, monkeypatch):

    def fail():
        raise KeyError("getpwuid(): uid not found")

    for getuser, actor in ((lambda: "root", "root (manage.py)"), (fail, "manage.py")):
        monkeypatch.setattr(commands, "getuser", getuser)
        issue_tokens(client=web_client, user=user)
        run("revoke_tokens", "--user", user.username, "--no-input")
        assert SecurityEvent.objects.filter(event="revoked").latest("pk").actor == actor
