"""Sends bad input to the pages for signing in and out, of a user who is signed in and of one who is not."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any
from urllib.parse import urlencode, urlsplit

from django.test import Client as Browser
from hypothesis import given, seed
from hypothesis import strategies as st

from django_ciam_token.models import Client, RefreshToken
from tests.factories import ClientFactory, UserFactory
from tests.fuzz.conftest import Target
from tests.fuzz.inputs import FORM, noise, tokens
from tests.fuzz.test_fuzz import INPUTS, SEED, campaign

REQUESTS = INPUTS * 5 // 100
CALLBACK, BYE = "https://app.example.com/callback", "https://app.example.com/bye"
PATHS = ("/oauth2/authorize", "/oauth2/logout")
NAMES = (
    *("response_type", "client_id", "redirect_uri", "scope", "state", "nonce", "prompt", "max_age"),
    *("code_challenge", "code_challenge_method", "response_mode", "request", "request_uri", "registration"),
    *("id_token_hint", "login_hint", "ui_locales", "display", "acr_values", "ciam_request"),
    *("post_logout_redirect_uri", "logout_redirect_uri", "decision", "seal", "csrfmiddlewaretoken"),
    *("state*", "client_id*", "*"),
)
VALUES = (
    "code",
    "openid",
    "none",
    "login",
    "consent",
    "0",
    "S256",
    "x" * 43,
    "form_post",
    "allow",
    "deny",
    "",
)


@st.composite
def visits(draw: st.DrawFn, target: Target, client: Client) -> dict[str, Any]:
    """Return a request that is nearly right: some of its parameters changed, left out, added or repeated."""
    right = {
        "response_type": "code",
        "client_id": client.client_id,
        "redirect_uri": CALLBACK,
        "post_logout_redirect_uri": BYE,
        "scope": "openid",
        "state": "s",
        "code_challenge": "x" * 43,
        "code_challenge_method": "S256",
    }
    value = st.one_of(st.sampled_from(VALUES), noise, tokens(target))
    kept = draw(st.sets(st.sampled_from(sorted(right)), min_size=4))
    fields = [(name, right[name]) for name in sorted(kept)]
    fields += draw(st.lists(st.tuples(st.one_of(st.sampled_from(NAMES), noise), value), max_size=4))
    text = urlencode(draw(st.permutations(fields)), errors="surrogatepass")
    if draw(st.integers(0, 5)) == 0:
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(st.sampled_from(["%", "%00", "%ff", "&", "=", "%c3%28", "\xff"])) + text[at:]
    return {
        "method": draw(st.sampled_from(["GET", "GET", "POST", "HEAD", "PUT"])),
        "path": draw(st.sampled_from(PATHS)),
        "text": text,
        "content_type": draw(
            st.sampled_from([FORM] * 8 + ["text/plain", "multipart/form-data; boundary=x", ""])
        ),
    }


def send(browser: Browser, *, method: str, path: str, text: str, content_type: str) -> Any:
    if method == "POST":
        return browser.generic("POST", path, text.encode("latin-1", "replace"), content_type=content_type)
    return browser.generic(method, path, QUERY_STRING=text)


def test_no_bad_request_breaks_a_page_or_leads_elsewhere(target: Target) -> None:
    client = ClientFactory(redirect_uris=CALLBACK, post_logout_redirect_uris=BYE)
    user = UserFactory()
    browser = Browser(enforce_csrf_checks=True, raise_request_exception=False)
    signed_in = Browser(enforce_csrf_checks=True, raise_request_exception=False)
    answers: Counter[tuple[str, int]] = Counter()
    before = set(RefreshToken.objects.values_list("pk", flat=True))

    @seed(SEED)
    @campaign(REQUESTS)
    @given(visits(target, client), st.booleans())
    def attack(visit: dict[str, Any], is_signed_in: bool) -> None:
        if is_signed_in and "_auth_user_id" not in signed_in.session:
            signed_in.force_login(user)
        response = send(signed_in if is_signed_in else browser, **visit)
        assert response.status_code < 500, response.content
        location = urlsplit(response.headers.get("Location", ""))
        where = f"{location.scheme}://{location.netloc}{location.path}"
        assert where in (CALLBACK, BYE, "://", ":///accounts/login/"), where
        assert response["X-Frame-Options"] == "DENY"
        answers[visit["path"], response.status_code] += 1

    attack()

    print(
        json.dumps({f"{path} {status}": count for (path, status), count in sorted(answers.items())}, indent=1)
    )
    # Some of them are right, and begin a session; none changes one that there was.
    RefreshToken.objects.exclude(pk__in=before).delete()
    client.delete()
