"""What fails while people sign in and out, and at the views that their applications call."""

from __future__ import annotations

from collections.abc import Callable
from secrets import token_urlsafe
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.error_reports.site import case, client, credentials, drawn, fail, send, settings, statements_fail
from tests.error_reports.site import tokens as first_tokens

CALLBACK = "https://app.example.com/callback"
SESSIONS = '"django_ciam_token_refreshtoken"'


def application() -> Any:
    from tests.factories import ClientFactory

    return ClientFactory(redirect_uris=CALLBACK)


def browser_of(user: Any) -> Any:
    from django.test import Client

    browser = Client(raise_request_exception=False)
    browser.force_login(user)
    return browser


def person() -> Any:
    from tests.factories import UserFactory

    return UserFactory()


def authorization_request(of: Any, verifier: str, **more: str) -> dict[str, str]:
    from django_ciam_token.crypto.authorization_code_string import challenge_of

    return {
        "response_type": "code",
        "client_id": of.client_id,
        "redirect_uri": CALLBACK,
        "scope": "openid",
        "code_challenge": challenge_of(verifier),
        "code_challenge_method": "S256",
        **more,
    }


def templates_fail_once(act: Callable[[], object]) -> None:
    """Let a context processor of the site raise, but not again while the error is answered."""
    from django.template import engines

    left = [1]

    def processor(request: Any) -> dict[str, Any]:
        return fail() if left and left.pop() else {}

    engine = engines["django"].engine
    processors = engine.template_context_processors
    engine.__dict__["template_context_processors"] = (*processors, processor)
    try:
        act()
    finally:
        engine.__dict__["template_context_processors"] = processors
    assert not left


def exchange(**changes: Any) -> list[str]:
    """Exchange a code while a setting names a function that raises."""
    web, verifier = application(), token_urlsafe(48)
    answer = browser_of(person()).get("/oauth2/authorize", authorization_request(web, verifier))
    code = parse_qs(urlsplit(answer["Location"]).query)["code"][0]
    form = {"grant_type": "authorization_code", "code": code, "code_verifier": verifier}
    with settings(**changes):
        send("/oauth2/token", {**form, "redirect_uri": CALLBACK, **credentials(web)})
    return [code, verifier, web.plain_secret]


@case
def claims_raise_in_an_exchange() -> list[str]:
    return exchange(ID_TOKEN_CLAIMS=fail)


@case
def policy_raises_in_an_exchange() -> list[str]:
    return exchange(ISSUANCE_POLICY=fail)


@case
def the_database_fails_in_an_exchange() -> list[str]:
    with statements_fail(f"UPDATE {SESSIONS}"):
        return exchange()


@case
def claims_raise_for_a_machine() -> list[str]:
    machine = client("m2m")
    with settings(ACCESS_TOKEN_CLAIMS=fail):
        send("/oauth2/token", {"grant_type": "client_credentials", **credentials(machine)})
    return [machine.plain_secret]


@case
def the_database_fails_when_a_code_is_issued() -> list[str]:
    with statements_fail(f"INSERT INTO {SESSIONS}"):
        return authorize()


@case
def a_context_processor_raises_when_a_code_is_posted() -> list[str]:
    codes: list[str] = []
    templates_fail_once(lambda: codes.extend(authorize(response_mode="form_post")))
    assert codes
    return codes


def authorize(**more: str) -> list[str]:
    """Ask for a code in vain; return those that were made."""
    from django_ciam_token.crypto import authorization_code_string

    made: list[str] = []
    encode = authorization_code_string.encode

    def noted(*args: Any, **kwargs: Any) -> str:
        made.append(encode(*args, **kwargs))
        return made[-1]

    authorization_code_string.encode = noted
    try:
        request = authorization_request(application(), token_urlsafe(48), **more)
        assert browser_of(person()).get("/oauth2/authorize", request).status_code == 500
    finally:
        authorization_code_string.encode = encode
    return made


@case
def the_database_fails_when_an_application_signs_out() -> list[str]:
    web, user = application(), person()
    browser, hint = browser_of(user), id_token(web, user)
    with statements_fail('FROM "django_ciam_token_client"'):
        assert browser.get("/oauth2/logout", {"id_token_hint": hint}).status_code == 500
    return [hint]


def id_token(of: Any, user: Any) -> str:
    from django_ciam_token.api import issue_tokens

    return str(issue_tokens(client=of, user=user, scope="openid")["id_token"])


class BrokenFormat:
    """Tokens of another package, which it can't look up."""

    def identify(self, text: Any) -> Any:
        from django_ciam_token.sessions.foreign import ForeignIdentity

        return ForeignIdentity(known_by=text.reveal().encode(), secret=text.reveal().encode())

    def find(self, identity: Any) -> Any:
        return fail()


@case
def a_foreign_token_cannot_be_looked_up() -> list[str]:
    web, token = client(), drawn()
    with settings(FOREIGN_TOKENS={f"{__name__}.BrokenFormat": {}}):
        send("/oauth2/token", {"grant_type": "refresh_token", "refresh_token": token, **credentials(web)})
        for path in ("/oauth2/introspect", "/oauth2/revoke"):
            send(path, {"token": token, **credentials(web)})
    return [token, web.plain_secret]


@case
def the_keys_cannot_be_read_for_a_token_with_a_wrong_mac() -> list[str]:
    """As all are in a process that was started with the wrong SECRET_KEY."""
    from django_ciam_token.keys import key_set

    web = client()
    token = first_tokens(web)["refresh_token"]
    key_set.forget()
    secrets = settings(SECRETS=["another-secret-" + drawn()])
    with secrets, statements_fail("django_ciam_token_signingkey"):
        send("/oauth2/token", {"grant_type": "refresh_token", "refresh_token": token, **credentials(web)})
        for path in ("/oauth2/introspect", "/oauth2/revoke"):
            send(path, {"token": token, **credentials(web)})
    key_set.forget()
    return [token, web.plain_secret]


@case
def views_of_other_frameworks_raise() -> list[str]:
    token = first_tokens(client())["access_token"]
    for path in ("/decorated", "/ninja/orders"):
        send(path, None, authorization=f"Bearer {token}")
    return [token]


@case
def user_of_subject_raises_at_views_of_other_frameworks() -> list[str]:
    web = client()
    web.refresh_tokens_enabled = False
    web.save()
    token = first_tokens(web)["access_token"]
    with settings(USER_OF_SUBJECT=fail):
        for path in ("/decorated", "/ninja/orders"):
            send(path, None, authorization=f"Bearer {token}")
    return [token]
