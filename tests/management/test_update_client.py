from __future__ import annotations

import pytest
from django.core.management import CommandError

from django_ciam_token.clients import changes
from django_ciam_token.errors import TemporarilyUnavailable
from django_ciam_token.models import Client
from tests.factories import ClientFactory

pytestmark = pytest.mark.django_db

CALLBACK = "https://portal.example.com/callback"


@pytest.fixture
def portal():
    return ClientFactory(client_id="portal", name="Portal", redirect_uris=CALLBACK)


def test_update_client_prints_what_changed(run, portal):
    text = run(
        "update_client",
        "portal",
        *("--redirect-uri", "https://a.example/", "--redirect-uri", "https://b.example/"),
        *("--ask-consent", "--audience", "https://api.example.com", "--disable"),
    )

    assert text.splitlines() == [
        "is_active: yes → no",
        "audience: - → https://api.example.com",
        f"redirect_uris: {CALLBACK} → https://a.example/ https://b.example/",
        "asks_consent: no → yes",
    ]
    portal.refresh_from_db()
    assert portal.redirect_uris.split() == ["https://a.example/", "https://b.example/"]
    assert (portal.asks_consent, portal.is_active) == (True, False)


def test_update_client_adds_and_removes(run_json, portal):
    answer = run_json(
        "update_client",
        "portal",
        *("--add-redirect-uri", "https://new.example/", "--add-redirect-uri", CALLBACK),
        *("--add-allowed-origin", "https://new.example", "--name", "New", "--enable"),
    )

    assert answer == {
        "client_id": "portal",
        "dry_run": False,
        "changes": {
            "name": {"old": "Portal", "new": "New"},
            "allowed_origins": {"old": [], "new": ["https://new.example"]},
            "redirect_uris": {"old": [CALLBACK], "new": [CALLBACK, "https://new.example/"]},
        },
    }


def test_update_client_removes_what_is_there(run, portal):
    run("update_client", "portal", "--remove-redirect-uri", CALLBACK)
    assert Client.objects.get().redirect_uris == ""

    with pytest.raises(CommandError, match=f"^portal has no redirect uri '{CALLBACK}'"):
        run("update_client", "portal", "--remove-redirect-uri", CALLBACK, "--disable")
    assert Client.objects.get().is_active


def test_an_empty_value_removes_all(run, portal):
    run("update_client", "portal", "--redirect-uri", "")

    assert Client.objects.get().redirect_uris == ""


def test_update_client_takes_a_flag_back(run, portal):
    Client.objects.update(requires_pkce=True, asks_consent=True)

    run("update_client", "portal", "--no-require-pkce")

    portal.refresh_from_db()
    assert (portal.requires_pkce, portal.asks_consent) == (False, True)


def test_a_dry_run_says_so(run, run_json, portal):
    text = run("update_client", "portal", "--disable", "--dry-run")
    answer = run_json("update_client", "portal", "--disable", "--dry-run")

    assert text == "is_active: yes → no\nNothing was changed: this was a dry run.\n"
    assert (answer["changes"], answer["dry_run"]) == ({"is_active": {"old": True, "new": False}}, True)
    assert Client.objects.get().is_active


def test_the_same_again_is_nothing_to_change(run, portal):
    assert run("update_client", "portal", "--enable") == "Nothing to change.\n"


def test_update_client_wants_to_know_what(run, portal):
    with pytest.raises(CommandError, match="Say what to change") as caught:
        run("update_client", "portal")

    assert caught.value.returncode == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["other", "--disable"], "There is no client 'other'"),
        (
            ["portal", "--redirect-uri", "http://portal.example.com"],
            "redirect_uris: http://portal.example.com",
        ),
        (["portal", "--scope", "nonsense"], "scope: Unknown scope nonsense"),
        (["portal", "--name", ""], "name: This field cannot be blank"),
    ],
)
def test_update_client_says_what_is_wrong(run, portal, arguments, message):
    with pytest.raises(CommandError, match="^" + message):
        run("update_client", *arguments)


def test_update_client_when_the_client_or_the_database_is_gone(run, portal, monkeypatch):
    def deleted(*args, **kwargs):
        raise Client.DoesNotExist

    def refused(*args, **kwargs):
        raise TemporarilyUnavailable("try again", reason="database_unavailable")

    monkeypatch.setattr(changes, "locked", deleted)
    with pytest.raises(CommandError, match="no client 'portal' any more"):
        run("update_client", "portal", "--disable")
    monkeypatch.setattr(changes, "retry", refused)
    with pytest.raises(CommandError, match="The database refused"):
        run("update_client", "portal", "--disable")
