"""An application that acts for itself."""

from __future__ import annotations

import json

import jwt
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from django_ciam_token import signals
from django_ciam_token.api import issue_tokens
from django_ciam_token.errors import InvalidGrant
from django_ciam_token.models import Client, RefreshToken
from tests.conftest import post_form
from tests.factories import ClientFactory, UserFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def machine(db):
    return ClientFactory(application_type="m2m", scope="openid profile email")


def ask(client, **changes):
    form = {
        "grant_type": "client_credentials",
        "client_id": client.client_id,
        "client_secret": getattr(client, "plain_secret", None),
        **changes,
    }
    return post_form({name: value for name, value in form.items() if value is not None})


def decoded(token):
    return jwt.decode(token, options={"verify_signature": False})


def introspected(client, token):
    form = {"client_id": client.client_id, "client_secret": client.plain_secret, "token": token}
    return post_form(form, url="/oauth2/introspect").json()


def test_a_machine_gets_an_access_token_and_nothing_else(machine):
    response = ask(machine)

    assert response.status_code == 200
    body = json.loads(response.content)
    assert list(body) == ["access_token", "scope", "token_type", "expires_in"]
    assert (body["scope"], body["token_type"]) == ("profile email", "Bearer")
    assert body["expires_in"] in (299, 300)
    claims = decoded(body["access_token"])
    assert (claims["sub"], claims["aud"]) == (machine.client_id, machine.client_id)
    assert claims["scope"] == ["profile", "email"]
    assert not {"sid", "auth_time", "nonce"} & claims.keys()
    assert not RefreshToken.objects.exists()


def test_it_makes_one_statement_and_writes_nothing(machine):
    ask(machine)

    with CaptureQueriesContext(connection) as queries:
        assert ask(machine).status_code == 200

    assert [query["sql"].split()[0] for query in queries] == ["SELECT"]


def test_its_token_introspects_as_active_until_it_is_revoked(machine):
    token = ask(machine).json()["access_token"]
    other = ask(machine).json()["access_token"]

    answer = introspected(machine, token)
    assert answer["active"] is True
    assert answer["client_id"] == answer["sub"] == machine.client_id
    assert "username" not in answer
    form = {"client_id": machine.client_id, "client_secret": machine.plain_secret}
    post_form({**form, "token": token}, url="/oauth2/revoke")

    assert introspected(machine, token) == {"active": False}
    assert introspected(machine, other)["active"] is True


def test_its_token_is_dead_while_it_is_disabled(machine):
    resource = ClientFactory(may_introspect=True)
    token = ask(machine).json()["access_token"]
    Client.objects.filter(pk=machine.pk).update(is_active=False)

    assert introspected(resource, token) == {"active": False}
    assert ask(machine).json() == {"error": "invalid_client"}
    Client.objects.filter(pk=machine.pk).update(is_active=True)
    assert introspected(resource, token)["active"] is True


def test_a_web_application_may_if_its_operator_allows_it(web_client):
    refused = ask(web_client)
    assert (refused.status_code, refused.json()["error"]) == (400, "unauthorized_client")

    Client.objects.update(may_use_client_credentials=True)

    token = ask(web_client).json()["access_token"]
    assert introspected(web_client, token)["active"] is True
    Client.objects.update(may_use_client_credentials=False)
    assert introspected(web_client, token) == {"active": False}


@pytest.mark.parametrize("application_type", ["spa", "mobile"])
def test_a_public_application_may_not(application_type):
    client = ClientFactory(application_type=application_type)
    Client.objects.update(may_use_client_credentials=True)

    assert ask(client).json()["error"] == "unauthorized_client"


@pytest.mark.parametrize("secret", [None, "wrong"])
def test_the_secret_is_needed(machine, secret):
    response = ask(machine, client_secret=secret)

    assert (response.status_code, response.json()) == (401, {"error": "invalid_client"})


@pytest.mark.parametrize(
    "scope", ["openid", "openid profile", "offline_access", "admin", "profile  email", "ü"]
)
def test_a_scope_about_a_person_or_wider_than_allowed_is_refused(machine, scope):
    response = ask(machine, scope=scope)

    assert (response.status_code, response.json()["error"]) == (400, "invalid_scope")


@pytest.mark.parametrize("scope", ["openid", "offline_access"])
def test_not_even_a_machine_that_is_allowed_it_gets_a_scope_about_a_person(scope, settings):
    served = dict.fromkeys(("openid", "offline_access", "profile"), "")
    settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, "SCOPES": served}
    machine = ClientFactory(application_type="m2m", scope="openid offline_access profile")

    assert ask(machine, scope=f"profile {scope}").json()["error"] == "invalid_scope"
    assert ask(machine).json()["scope"] == "profile"


def test_a_narrower_scope_is_granted(machine):
    assert ask(machine, scope="email").json()["scope"] == "email"


def test_a_machine_without_scopes_gets_a_token_that_names_none():
    machine = ClientFactory(application_type="m2m", scope="openid")

    body = ask(machine).json()

    assert body["scope"] == ""
    assert decoded(body["access_token"])["scope"] == []
    assert introspected(machine, body["access_token"])["active"] is True


@pytest.mark.parametrize("profile", ["ciam", "rfc9068"])
def test_a_token_without_scopes_is_one_in_each_form(profile, settings):
    settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, "ACCESS_TOKEN_PROFILE": profile}
    machine = ClientFactory(application_type="m2m", scope="openid")

    assert introspected(machine, ask(machine).json()["access_token"])["active"] is True


def test_a_refresh_token_comes_with_it_only_if_the_operator_says_so(machine, refresh):
    Client.objects.update(refreshes_client_credentials=True)

    body = ask(machine).json()

    assert list(body) == ["access_token", "refresh_token", "scope", "token_type", "expires_in"]
    session = RefreshToken.objects.get()
    assert (session.user, session.scope, session.auth_time) == (None, "profile email", None)
    assert refresh(machine, body["refresh_token"]).status_code == 200
    Client.objects.update(refresh_tokens_enabled=False)
    assert "refresh_token" not in ask(machine).json()


def test_a_refresh_token_makes_no_scopes_out_of_none(refresh):
    machine = ClientFactory(application_type="m2m", scope="openid", refreshes_client_credentials=True)

    body = ask(machine).json()

    assert list(body) == ["access_token", "refresh_token", "scope", "token_type", "expires_in"]
    assert (body["scope"], decoded(body["access_token"])["scope"]) == ("", [])
    again = refresh(machine, body["refresh_token"]).json()
    assert list(again) == list(body)
    assert again["scope"] == ""


def test_a_web_application_may_have_a_refresh_token_of_its_own(web_client, refresh):
    Client.objects.update(may_use_client_credentials=True, refreshes_client_credentials=True)

    body = ask(web_client).json()

    assert refresh(web_client, body["refresh_token"]).status_code == 200


@pytest.mark.django_db(transaction=True)
def test_it_is_signalled(machine, traces):
    ask(machine)

    [arguments] = traces.of(signals.tokens_issued)
    assert (arguments["client"], arguments["user"], arguments["session"]) == (machine, None, None)


def test_the_policy_of_the_site_is_asked(machine, settings):
    settings.CIAM_TOKEN = {
        **settings.CIAM_TOKEN,
        "ISSUANCE_POLICY": "tests.grants.test_client_credentials.only_people",
    }

    assert ask(machine).json() == {"error": "invalid_grant"}


def only_people(*, user, **_):
    return user is not None


def test_no_user_gets_tokens_that_could_be_those_of_the_application(web_client, settings):
    settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, "SUBJECT": str}
    user = UserFactory(username=web_client.client_id)

    assert issue_tokens(client=web_client, user=user)
    RefreshToken.objects.all().delete()
    web_client.may_use_client_credentials = True

    with pytest.raises(InvalidGrant):
        issue_tokens(client=web_client, user=user)
    assert not RefreshToken.objects.exists()
