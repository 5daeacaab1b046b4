"""``POST /oauth2/token`` as a specification: one request, one answer."""

from __future__ import annotations

import json
from urllib.parse import quote

import jwt
import pytest
from django.test import Client as Browser
from django.test import override_settings

from django_ciam_token import api, signals
from django_ciam_token.errors import OAuthError
from django_ciam_token.models import Client, RefreshToken
from tests.conftest import post_form
from tests.factories import ClientFactory
from tests.views.conftest import assert_error, assert_still_valid, basic

pytestmark = pytest.mark.django_db


def test_a_refresh_is_answered_byte_for_byte_as_the_reference(web_client, user, form):
    response = post_form({**form, "scope": "openid"})

    assert response.status_code == 200
    assert response["Content-Type"] == "application/json;charset=UTF-8"
    assert response["Cache-Control"] == "private, no-store"
    assert response["Pragma"] == "no-cache"
    body = json.loads(response.content)
    assert list(body) == ["access_token", "refresh_token", "scope", "id_token", "token_type", "expires_in"]
    assert response.content == json.dumps(body).encode()
    assert body["scope"] == "openid"
    assert body["token_type"] == "Bearer"
    assert body["expires_in"] in (299, 300)
    keys = jwt.PyJWKSet.from_dict(Browser().get("/oauth2/jwks").json())
    for name, audience in (("access_token", web_client.client_id), ("id_token", web_client.client_id)):
        header = jwt.get_unverified_header(body[name])
        assert list(header) == ["kid", "typ", "alg"]
        assert (header["typ"], header["alg"]) == ("JWT", "RS256")
        claims = jwt.decode(body[name], keys[header["kid"]], algorithms=["RS256"], audience=audience)
        assert claims["sub"] == str(user.pk)
        assert claims["iss"] == "https://id.example.com"
    access = jwt.decode(body["access_token"], options={"verify_signature": False})
    assert list(access)[:8] == ["sub", "aud", "nbf", "scope", "iss", "exp", "iat", "jti"]
    assert access["scope"] == ["openid"]
    assert access["exp"] - access["iat"] == 300
    assert access["nbf"] == access["iat"]
    id_token = jwt.decode(body["id_token"], options={"verify_signature": False})
    assert list(id_token)[:7] == ["sub", "aud", "azp", "iss", "exp", "iat", "jti"]
    assert id_token["exp"] - id_token["iat"] == 1800


@pytest.mark.parametrize(
    "authorize",
    [
        lambda client: {"HTTP_AUTHORIZATION": basic(client.client_id, client.plain_secret)},
        lambda client: {
            "HTTP_AUTHORIZATION": basic(client.client_id, client.plain_secret).replace("Basic", "bASIC")
        },
        lambda client: {
            "HTTP_AUTHORIZATION": basic(
                client.client_id.replace("-", "%2D"), quote(client.plain_secret).replace("_", "%5F")
            )
        },
    ],
)
def test_basic_is_accepted_in_any_case_and_form_decoded(form, web_client, authorize):
    del form["client_secret"]
    without_id = {name: value for name, value in form.items() if name != "client_id"}

    assert post_form(form, **authorize(web_client)).status_code == 200
    assert post_form(without_id, **authorize(web_client)).status_code == 200


@pytest.mark.parametrize("application_type", ["spa", "mobile"])
def test_a_public_client_refreshes_without_a_secret(user, refresh, application_type):
    client = ClientFactory(application_type=application_type)
    tokens = api.issue_tokens(client=client, user=user)

    assert refresh(client, tokens["refresh_token"]).status_code == 200


def test_a_machine_refreshes_and_is_its_own_subject(machine, refresh):
    tokens = api.issue_tokens(client=machine)

    body = refresh(machine, tokens["refresh_token"]).json()

    claims = jwt.decode(body["access_token"], options={"verify_signature": False})
    assert claims["sub"] == machine.client_id
    assert "auth_time" not in jwt.decode(body["id_token"], options={"verify_signature": False})


def test_unknown_parameters_and_empty_ones_are_ignored(form):
    response = post_form(
        {**form, "scope": "", "redirect_uri": "https://x", "x-trace": "1", "client_assertion": ""}
    )

    assert response.status_code == 200


@pytest.mark.parametrize("name", ["grant_type", "client_id", "refresh_token"])
@pytest.mark.parametrize(
    "spoil", [lambda form, name: form.pop(name), lambda form, name: form.update({name: ""})]
)
def test_a_missing_or_empty_parameter_is_named(form, name, spoil):
    spoiled = dict(form)
    spoil(spoiled, name)

    assert_error(post_form(spoiled), 400, "invalid_request", description=f"{name} is missing")
    assert_still_valid(form)


def test_an_unknown_grant_type_is_refused(form):
    response = post_form({**form, "grant_type": "password"})

    assert_error(response, 400, "unsupported_grant_type", description="refresh_token")


def test_two_methods_of_client_authentication_at_once_are_refused(form, web_client):
    header = basic(web_client.client_id, web_client.plain_secret)

    response = post_form(form, HTTP_AUTHORIZATION=header)

    assert_error(response, 400, "invalid_request", description="not both")
    assert not response.has_header("WWW-Authenticate")
    assert_still_valid(form)


def test_a_client_id_that_differs_from_the_header_is_refused(form, web_client):
    header = basic(web_client.client_id, web_client.plain_secret)

    response = post_form(
        {"grant_type": "refresh_token", "client_id": "other", "refresh_token": form["refresh_token"]},
        HTTP_AUTHORIZATION=header,
    )

    assert_error(response, 400, "invalid_request", description="client_id differs")


def spoil_unknown(client, form):
    form["client_id"] = "nobody"


def spoil_case(client, form):
    form["client_id"] = form["client_id"].upper()


def spoil_wrong_secret(client, form):
    form["client_secret"] = "wrong"


def spoil_missing_secret(client, form):
    del form["client_secret"]


def spoil_disabled(client, form):
    Client.objects.update(is_active=False)


def spoil_assertion(client, form):
    del form["client_secret"]
    form["client_assertion"] = "eyJ"


@pytest.mark.parametrize(
    "spoil",
    [spoil_unknown, spoil_case, spoil_wrong_secret, spoil_missing_secret, spoil_disabled, spoil_assertion],
)
def test_every_failure_of_client_authentication_looks_the_same(web_client, form, spoil):
    spoil(web_client, form)

    response = post_form(form)

    assert_error(response, 401, "invalid_client")
    assert not response.has_header("WWW-Authenticate")
    assert RefreshToken.objects.get().generation == 0


def test_a_public_client_that_sends_a_secret_is_refused(spa_client, user):
    tokens = api.issue_tokens(client=spa_client, user=user)

    response = post_form(
        {
            "grant_type": "refresh_token",
            "client_id": spa_client.client_id,
            "client_secret": "made-up",
            "refresh_token": tokens["refresh_token"],
        }
    )

    assert_error(response, 401, "invalid_client")


def test_a_client_without_refresh_tokens_is_unauthorized(form):
    Client.objects.update(refresh_tokens_enabled=False)

    assert_error(post_form(form), 400, "unauthorized_client", description="refresh tokens")


@pytest.mark.parametrize(
    "scope", ["openid admin", "admin", "openid  profile", " openid", 'openid"', "openid\\", "öpenid", "a\tb"]
)
def test_a_wider_or_malformed_scope_is_refused_and_the_refresh_token_stays_valid(form, scope):
    response = post_form({**form, "scope": scope})

    assert_error(response, 400, "invalid_scope", description="scope")
    assert RefreshToken.objects.get().generation == 0
    assert_still_valid(form)


class ConfirmingGrant:
    """A grant of the host site."""

    def __call__(self, request):
        raise NotImplementedByHost(f'hello "{request.client.client_id}" \\ ä', reason="own")


class NotImplementedByHost(OAuthError):
    error = "invalid_grant"


own_grant = ConfirmingGrant()


def test_a_site_adds_a_grant_without_touching_the_view(form, settings, web_client):
    settings.CIAM_TOKEN = {
        **settings.CIAM_TOKEN,
        "GRANTS": {"urn:own": "tests.views.test_token.own_grant"},
    }

    response = post_form({**form, "grant_type": "urn:own"})

    assert_error(response, 400, "invalid_grant", description=f"hello ?{web_client.client_id}? ? ?")
    assert_error(post_form(form), 400, "unsupported_grant_type", description="urn:own")


@override_settings(MIDDLEWARE=[])  # One of the site's would set it as well.
def test_an_answer_has_a_content_length(form):
    response = post_form(form)

    assert response["Content-Length"] == str(len(response.content))


@pytest.mark.parametrize("sub", [None, "", "x" * 256])
def test_a_subject_that_can_not_identify_a_user_is_refused(form, settings, sub):
    settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, "SUBJECT": lambda user: sub}

    assert_error(post_form(form), 500, "server_error")
    assert RefreshToken.objects.get().generation == 0


@pytest.mark.parametrize("claims", [None, [], {"x": float("nan")}, {"x": object()}, {"sub": "admin"}])
def test_claims_that_a_jwt_can_not_have_are_an_error_and_change_nothing(form, settings, claims):
    settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, "ID_TOKEN_CLAIMS": lambda **arguments: claims}

    assert_error(post_form(form), 500, "server_error")
    assert RefreshToken.objects.get().generation == 0


def test_without_a_receiver_nothing_is_measured(web_client, first_tokens, refresh, monkeypatch):
    """Tests have receivers of all signals; most sites have none of this one."""
    monkeypatch.setattr(signals.token_request_answered, "receivers", [])

    assert refresh(web_client, first_tokens["refresh_token"]).status_code == 200
