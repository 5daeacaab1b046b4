"""The JWK Set and the discovery documents, over HTTP."""

from __future__ import annotations

import base64
import json

import pytest
from django.test import Client as Browser
from django.test import override_settings
from django.urls import include, path

from django_ciam_token import urls as ciam_urls
from django_ciam_token.api import issue_tokens
from django_ciam_token.keys import key_set, signing_keys
from django_ciam_token.models import SigningKey
from django_ciam_token.views.metadata import JWKSetView

pytestmark = pytest.mark.django_db

DOCUMENTS = ["/oauth2/jwks", "/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"]
PRIVATE_MEMBERS = {"d", "p", "q", "dp", "dq", "qi", "k"}

CLAIMS = ["sub", "iss", "aud", "azp", "exp", "iat", "jti", "auth_time", "nonce", "sid"]
# What an endpoint for signing in adds to the document.
OF_SIGNING_IN = {
    *("authorization_endpoint", "end_session_endpoint", "response_modes_supported"),
    *("code_challenge_methods_supported", "prompt_values_supported", "claims_supported"),
    *("authorization_response_iss_parameter_supported", "request_parameter_supported"),
    "request_uri_parameter_supported",
}


def test_the_jwk_set_has_the_members_of_the_reference_and_nothing_private():
    [key] = Browser().get("/oauth2/jwks").json()["keys"]

    assert list(key) == ["kty", "e", "kid", "n", "use", "alg"]
    assert (key["kty"], key["e"], key["use"], key["alg"]) == ("RSA", "AQAB", "sig", "RS256")
    assert key["kid"] == SigningKey.objects.get().kid


@pytest.mark.parametrize(
    ("algorithm", "members"),
    [
        ("ES256", ["kty", "crv", "kid", "x", "y", "use", "alg"]),
        ("EdDSA", ["kty", "crv", "kid", "x", "use", "alg"]),
        ("PS256", ["kty", "e", "kid", "n", "use", "alg"]),
    ],
)
def test_a_new_key_is_published_at_once_next_to_the_active_one(algorithm, members):
    new = signing_keys.rotate(algorithm=algorithm)
    key_set.forget()

    keys = {key["kid"]: key for key in Browser().get("/oauth2/jwks").json()["keys"]}

    assert len(keys) == 2
    assert list(keys[new.kid]) == members
    assert not any(PRIVATE_MEMBERS & key.keys() for key in keys.values())


def test_a_removed_key_is_no_longer_published():
    old = SigningKey.objects.get()
    new = signing_keys.rotate(algorithm="ES256", compromised=True)
    key_set.forget()

    kids = [key["kid"] for key in Browser().get("/oauth2/jwks").json()["keys"]]

    assert kids == [new.kid]
    assert old.kid not in kids


@pytest.mark.parametrize("url", DOCUMENTS[1:])
@override_settings(
    CIAM_TOKEN={"ISSUER": "https://id.example.com:8443/tenant/", "SCOPES": {"openid": "", "x": ""}}
)
def test_discovery_lists_only_what_is_served_with_urls_on_the_issuers_host(url):
    signing_keys.rotate(algorithm="ES256")
    key_set.forget()

    document = Browser().get(url, HTTP_HOST="attacker.example", secure=False).json()

    assert document == {
        "issuer": "https://id.example.com:8443/tenant/",
        "token_endpoint": "https://id.example.com:8443/oauth2/token",
        "jwks_uri": "https://id.example.com:8443/oauth2/jwks",
        "revocation_endpoint": "https://id.example.com:8443/oauth2/revoke",
        "userinfo_endpoint": "https://id.example.com:8443/userinfo",
        "introspection_endpoint": "https://id.example.com:8443/oauth2/introspect",
        "scopes_supported": ["openid", "x"],
        "authorization_endpoint": "https://id.example.com:8443/oauth2/authorize",
        "end_session_endpoint": "https://id.example.com:8443/oauth2/logout",
        "response_types_supported": ["code"],
        "response_modes_supported": ["query", "form_post"],
        "code_challenge_methods_supported": ["S256"],
        "prompt_values_supported": ["none", "login", "consent", "select_account"],
        "authorization_response_iss_parameter_supported": True,
        "request_parameter_supported": False,
        "request_uri_parameter_supported": False,
        "claims_supported": CLAIMS,
        "grant_types_supported": ["authorization_code", "refresh_token", "client_credentials"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
        "revocation_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
        "introspection_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256", "ES256"],
    }


def test_claims_of_the_scopes_that_the_site_has_are_listed():
    document = Browser().get(DOCUMENTS[1]).json()

    assert document["claims_supported"] == [
        *CLAIMS,
        *("name", "given_name", "family_name", "preferred_username", "email"),
    ]


def test_the_listed_claims_are_those_of_an_id_token_and_of_userinfo(web_client, user):
    user.first_name, user.last_name, user.email = "Ada", "Lovelace", "ada@example.com"
    user.save()
    tokens = issue_tokens(client=web_client, user=user)
    payload = tokens["id_token"].split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    response = Browser().get("/userinfo", HTTP_AUTHORIZATION=f"Bearer {tokens['access_token']}")

    listed = Browser().get(DOCUMENTS[1]).json()["claims_supported"]

    assert {*claims, *response.json(), "nonce"} == set(listed)


def test_a_site_without_the_grant_announces_nothing_of_signing_in(settings):
    settings.CIAM_TOKEN = {
        **settings.CIAM_TOKEN,
        "GRANTS": {"refresh_token": "django_ciam_token.grants.refresh_token.refresh"},
    }

    document = Browser().get(DOCUMENTS[1]).json()

    assert document["response_types_supported"] == []
    assert document["grant_types_supported"] == ["refresh_token"]
    assert OF_SIGNING_IN & document.keys() == set()


class WithoutSigningIn:
    """The URLs of a site that has first tokens of its own."""

    app_name = "django_ciam_token"
    urlpatterns = [
        pattern for pattern in ciam_urls.urlpatterns if pattern.name not in ("authorize", "logout")
    ]


class WithoutLogout:
    app_name = "django_ciam_token"
    urlpatterns = [pattern for pattern in ciam_urls.urlpatterns if pattern.name != "logout"]


class Site:
    urlpatterns = [path("", include((WithoutSigningIn.urlpatterns, "django_ciam_token")))]


class SiteWithoutLogout:
    urlpatterns = [path("", include((WithoutLogout.urlpatterns, "django_ciam_token")))]


def test_a_site_that_leaves_the_endpoint_out_of_its_urls_announces_nothing_of_it():
    with override_settings(ROOT_URLCONF=Site):
        document = Browser().get(DOCUMENTS[1]).json()

    assert document["response_types_supported"] == []
    assert document["grant_types_supported"] == ["refresh_token", "client_credentials"]
    assert OF_SIGNING_IN & document.keys() == set()


def test_a_site_that_leaves_logout_out_of_its_urls_announces_the_rest():
    with override_settings(ROOT_URLCONF=SiteWithoutLogout):
        document = Browser().get(DOCUMENTS[1]).json()

    assert OF_SIGNING_IN - document.keys() == {"end_session_endpoint"}


def without(name: str) -> type:
    """The URLs of a site that leaves one endpoint out."""

    class Left:
        served = [pattern for pattern in ciam_urls.urlpatterns if pattern.name != name]
        urlpatterns = [path("", include((served, "django_ciam_token")))]

    return Left


@pytest.mark.parametrize(
    ("name", "members"),
    [
        ("token", {"token_endpoint", "token_endpoint_auth_methods_supported"}),
        ("jwks", {"jwks_uri"}),
        ("revoke", {"revocation_endpoint", "revocation_endpoint_auth_methods_supported"}),
        ("introspect", {"introspection_endpoint", "introspection_endpoint_auth_methods_supported"}),
        ("userinfo", {"userinfo_endpoint"}),
    ],
)
def test_an_endpoint_that_a_site_leaves_out_of_its_urls_is_not_announced(name, members):
    complete = Browser().get(DOCUMENTS[1]).json()

    with override_settings(ROOT_URLCONF=without(name)):
        document = Browser().get(DOCUMENTS[1]).json()

    assert complete.keys() - document.keys() == members
    assert (document["grant_types_supported"] == []) == (name == "token")
    assert ("email" in document["claims_supported"]) == (name != "userinfo")


urlpatterns = [path("auth/", include("django_ciam_token.urls"))]


@override_settings(ROOT_URLCONF="tests.views.test_metadata")
def test_urls_include_the_prefix_of_the_include():
    document = Browser().get("/auth/.well-known/openid-configuration").json()

    assert document["token_endpoint"] == "https://id.example.com/auth/oauth2/token"


@pytest.mark.parametrize("url", DOCUMENTS)
def test_documents_may_be_cached_and_read_by_any_script(url):
    response = Browser().get(url)

    assert response.status_code == 200
    assert response["Content-Type"] == "application/json;charset=UTF-8"
    assert response["Cache-Control"] == "public, max-age=300"
    assert response["Access-Control-Allow-Origin"] == "*"
    assert "Pragma" not in response


@pytest.mark.parametrize("url", DOCUMENTS)
def test_a_client_that_has_the_document_is_answered_304_until_it_changes(url):
    etag = Browser().get(url)["ETag"]

    unchanged = Browser().get(url, HTTP_IF_NONE_MATCH=etag)
    signing_keys.rotate(algorithm="ES256")
    key_set.forget()
    changed = Browser().get(url, HTTP_IF_NONE_MATCH=etag)

    assert unchanged.status_code == 304
    assert unchanged.content == b""
    assert unchanged["ETag"] == etag
    assert unchanged["Cache-Control"] == "public, max-age=300"
    assert changed.status_code == 200


def test_an_answer_of_304_has_no_body(rf):
    # Not with the test client, which empties the body. Some servers would send the body that the view
    # returned, and a client would take it for the beginning of the next answer.
    etag = Browser().get("/oauth2/jwks")["ETag"]

    response = JWKSetView.as_view()(rf.get("/oauth2/jwks", headers={"If-None-Match": etag})).render()

    assert (response.status_code, response.content) == (304, b"")


@pytest.mark.parametrize("url", DOCUMENTS)
def test_head_is_served_and_other_methods_are_not(url):
    assert Browser().head(url).status_code == 200

    response = Browser().post(url)

    assert response.status_code == 405
    assert response["Allow"] == "GET, HEAD"
    assert response.json() == {"error": "invalid_request", "error_description": "use GET, HEAD"}


def test_an_unreadable_database_is_answered_503(monkeypatch):
    from django.db import OperationalError

    def fail(*args, **kwargs):
        raise OperationalError("gone")

    monkeypatch.setattr(key_set, "_read", fail)

    response = Browser(raise_request_exception=False).get("/oauth2/jwks")

    assert response.status_code == 503
    assert response.json()["error"] == "temporarily_unavailable"


def test_a_published_view_of_a_site_must_have_a_document():
    from django_ciam_token.views.metadata import PublishedView

    with pytest.raises(NotImplementedError):
        PublishedView().document()
