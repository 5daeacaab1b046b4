"""Bad exchanges of codes, and bad requests for client credentials."""

from __future__ import annotations

import base64
import json
from collections import Counter
from typing import Any
from urllib.parse import urlencode

from django.conf import LazySettings
from django.utils import timezone
from hypothesis import given, seed
from hypothesis import strategies as st

from django_ciam_token.api import issue_tokens
from django_ciam_token.caller import NOBODY
from django_ciam_token.crypto.authorization_code_string import challenge_of
from django_ciam_token.models import Client, RefreshToken
from django_ciam_token.tokens.authorization_codes import issue_code
from tests.factories import ClientFactory, UserFactory
from tests.fuzz.conftest import Target
from tests.fuzz.inputs import FORM, broken
from tests.fuzz.test_fuzz import INPUTS, SEED, campaign
from tests.fuzz.wsgi import call

REQUESTS = INPUTS * 5 // 100
CALLBACK = "https://app.example.com/callback"
VERIFIER = "v" * 43

noise = st.one_of(st.text(max_size=60), st.binary(max_size=60).map(lambda raw: raw.decode("latin-1")))


def code_of(client: Client, user: Any, verifier: str = VERIFIER) -> str:
    now = timezone.now()
    return issue_code(
        client=client,
        user=user,
        scope=("openid",),
        auth_time=now,
        redirect_uri=CALLBACK,
        code_challenge=challenge_of(verifier),
        nonce="nonce-ü",
        caller=NOBODY,
        now=now,
    ).reveal()


def exchange_of(client: Client, code: str) -> dict[str, str]:
    return {
        "grant_type": "authorization_code",
        "client_id": client.client_id,
        "client_secret": client.plain_secret,
        "code": code,
        "redirect_uri": CALLBACK,
        "code_verifier": VERIFIER,
    }


@st.composite
def almost(draw: st.DrawFn, right: dict[str, str], others: dict[str, str]) -> dict[str, str]:
    """Return a right form of which at least one parameter is wrong, left out, or another's."""
    form = dict(right)
    for name in draw(st.sets(st.sampled_from(sorted(right)), min_size=1, max_size=3)):
        match draw(st.integers(0, 3)):
            case 0:
                del form[name]
            case 1:
                form[name] = draw(noise)
            case 2:
                form[name] = others.get(name, right[name][::-1])
            case _:
                form[name] = draw(broken(right[name]))
    return form


def body_of(form: dict[str, str], twice: str | None) -> bytes:
    fields = [*form.items(), *([(twice, form.get(twice, "x"))] if twice else [])]
    return urlencode(fields, errors="surrogatepass").encode()


def send(target: Target, body: bytes, **headers: str) -> tuple[int, bytes]:
    headers = {"Content-Type": FORM, **headers}
    return call(target.application, method="POST", path="/oauth2/token", query="", headers=headers, body=body)


def test_no_bad_exchange_breaks_anything_or_spends_the_code(
    target: Target, settings: LazySettings, traces: Any
) -> None:
    settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, "AUTHORIZATION_CODE_LIFETIME": 600}
    client, other = (ClientFactory(redirect_uris=CALLBACK, application_type="web") for _ in range(2))
    user = UserFactory()
    code = code_of(client, user)
    right = exchange_of(client, code)
    refresh_token = str(issue_tokens(client=client, user=user)["refresh_token"])
    # Its own verifier, so that no three parameters of the other client make a right exchange.
    others = exchange_of(other, code_of(other, user, "w" * 43))
    others |= {"grant_type": "refresh_token", "code_verifier": "w" * 43}
    before = target.rows()
    answers: Counter[int] = Counter()

    @seed(SEED)
    @campaign(REQUESTS)
    @given(
        almost(right, others),
        st.one_of(st.none(), st.none(), st.sampled_from(sorted(right))),
        st.booleans(),
    )
    def attack(form: dict[str, str], twice: str | None, is_refresh_token: bool) -> None:
        if is_refresh_token:
            form = {**form, "code": refresh_token}
        if form == right and twice is None:
            return
        status, body = send(target, body_of(form, twice))
        assert 400 <= status < 500, (status, body)
        assert b"access_token" not in body
        answers[status] += 1

    attack()

    print(json.dumps(answers))
    assert target.rows() == before
    assert send(target, body_of(right, None))[0] == 200
    RefreshToken.objects.filter(client__in=[client, other]).delete()
    Client.objects.filter(pk__in=[client.pk, other.pk]).delete()
    # Their rows are gone, so that what they held can't be read any more.
    traces.signalled.clear()


def test_no_bad_request_for_client_credentials_gets_a_token_or_breaks_anything(target: Target) -> None:
    machine = ClientFactory(application_type="m2m", scope="openid profile")
    person = next(client for client in target.clients if client.application_type == "web")
    right = {
        "grant_type": "client_credentials",
        "client_id": machine.client_id,
        "client_secret": machine.plain_secret,
        "scope": "profile",
    }
    others = {"client_id": person.client_id, "client_secret": person.plain_secret, "scope": "openid"}
    before = target.rows()
    answers: Counter[int] = Counter()

    @seed(SEED)
    @campaign(REQUESTS)
    @given(almost(right, others), st.one_of(st.none(), st.sampled_from(sorted(right))), st.booleans())
    def attack(form: dict[str, str], twice: str | None, is_basic: bool) -> None:
        # Without a scope the machine gets all that it is allowed.
        if not form.get("scope") and form | {"scope": "profile"} == right and twice is None:
            return
        if form == right and twice is None:
            return
        headers = {}
        if is_basic:
            form = dict(form)
            pair = f"{form.pop('client_id', '')}:{form.pop('client_secret', '')}"
            encoded = base64.b64encode(pair.encode("utf-8", "surrogatepass")).decode()
            headers["Authorization"] = f"Basic {encoded}"
        status, body = send(target, body_of(form, twice), **headers)
        assert 400 <= status < 500, (status, body)
        assert b"access_token" not in body
        answers[status] += 1

    attack()

    print(json.dumps(answers))
    assert target.rows() == before
    assert send(target, body_of(right, None))[0] == 200
    machine.delete()
