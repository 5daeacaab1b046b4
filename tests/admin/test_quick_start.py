"""What a developer pastes to begin."""

from __future__ import annotations

import pytest

from django_ciam_token.admin import quick_start
from django_ciam_token.concealed import Concealed
from tests.admin.new_clients import SECRET
from tests.factories import ClientFactory
from tests.operators import browser_of, url

pytestmark = pytest.mark.django_db

SHOWN = Concealed("ciam_cs_x")


@pytest.mark.parametrize("application_type", ["web", "mobile", "m2m"])
@pytest.mark.parametrize(("secret", "has_secret"), [(None, False), (None, True), (SHOWN, True)])
def test_the_snippets_contain_everything_that_a_library_needs(application_type, secret, has_secret):
    client = ClientFactory(application_type=application_type)

    for snippet in quick_start.snippets(client, secret, has_secret=has_secret):
        assert client.client_id in snippet.text
        assert ("ciam_cs_x" in snippet.text) == (secret is not None)
        assert ("YOUR_CLIENT_SECRET" in snippet.text) == (has_secret and secret is None)
        assert "ciam_cs_x" not in repr(snippet)


def test_a_single_page_application_gets_javascript():
    client = ClientFactory(application_type="spa", redirect_uris="https://a.example/cb https://b.example/")

    first, second = quick_start.snippets(client, None, has_secret=False)

    assert 'redirect_uri: "https://a.example/cb"' in first.text
    assert f'client_id: "{client.client_id}"' in first.text
    assert 'authority: "https://id.example.com' in first.text
    assert second.name == "curl"
    bare = ClientFactory(application_type="spa")
    assert "https://app.example.com/callback" in quick_start.snippets(bare, None, has_secret=False)[0].text


def test_a_machine_gets_its_tokens_with_its_secret():
    first = quick_start.snippets(ClientFactory(application_type="m2m"), None, has_secret=True)[0]

    assert first.text.endswith("-d grant_type=client_credentials")
    assert "refresh_token" not in first.text


def test_the_snippets_need_no_endpoints_on_this_host(web_client, settings):
    settings.ROOT_URLCONF = "tests.admin_urls"

    curl = quick_start.snippets(web_client, None, has_secret=True)[0]
    assert "https://id.example.com/oauth2/token" in curl.text


def test_the_quick_start_is_offered_again_without_the_secret(web_client):
    browser = browser_of("view_client")
    address = url("client_new_secret", web_client.pk)

    assert address in browser.get(url("client_change", web_client.pk)).content.decode()
    page = browser.get(address).content.decode()

    assert "YOUR_CLIENT_SECRET" in page
    assert not SECRET.search(page)
    assert url("client_replace_secret", web_client.pk) not in page
