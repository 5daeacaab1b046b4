"""What a grant reads of the form before the client is authenticated: once, and with the session."""

from __future__ import annotations

import pytest

from django_ciam_token.crypto import authorization_code_string, refresh_token_string, site_keys
from django_ciam_token.errors import InvalidGrant
from django_ciam_token.models import RefreshToken
from tests.conftest import post_form
from tests.factories import ClientFactory
from tests.grants.test_authorization_code import REDIRECT_URI, code_for, exchange

pytestmark = pytest.mark.django_db


@pytest.fixture
def authenticated(monkeypatch):
    """Return the strings that were authenticated."""
    seen = []
    for module in (refresh_token_string, authorization_code_string):
        authenticate = module.authenticate

        def noted(text, keys, authenticate=authenticate):
            seen.append(text)
            return authenticate(text, keys)

        monkeypatch.setattr(module, "authenticate", noted)
    return seen


def test_a_refresh_token_is_authenticated_once(web_client, first_tokens, refresh, authenticated):
    assert refresh(web_client, first_tokens["refresh_token"]).status_code == 200

    assert authenticated == [first_tokens["refresh_token"]]


def test_a_code_is_authenticated_once(db, user, authenticated):
    client = ClientFactory(redirect_uris=REDIRECT_URI)

    assert exchange(client, code_for(client, user)).status_code == 200

    assert len(authenticated) == 1


class PeekingGrant:
    """A grant of a site that looks at the session of a refresh token."""

    requests = []

    def __call__(self, request):
        self.requests.append(request)
        raise InvalidGrant(reason="peeked")

    def presented_in(self, parameters):
        return refresh_token_string.authenticate(parameters["token"], site_keys.token_keys())


peeking_grant = PeekingGrant()


def test_a_grant_of_the_site_has_its_session_read_with_the_client(
    web_client, first_tokens, settings, django_assert_num_queries
):
    settings.CIAM_TOKEN = {
        **settings.CIAM_TOKEN,
        "GRANTS": {"urn:peek": "tests.grants.test_presented.peeking_grant"},
    }
    form = {"client_id": web_client.client_id, "client_secret": web_client.plain_secret}
    form |= {"grant_type": "urn:peek", "token": first_tokens["refresh_token"]}
    post_form(form)  # The use of the secret is noted.

    with django_assert_num_queries(1):
        assert post_form(form).status_code == 400

    request = peeking_grant.requests[-1]
    assert request.session.session == RefreshToken.objects.get()
    assert request.presented.session_id == request.session.session.pk
    assert first_tokens["refresh_token"] not in repr(request)
    assert repr(request.presented) not in repr(request)
