"""A site whose functions raise. Run as a process of its own, because sentry-sdk patches Django for good.

It prints one JSON object: for each case, what was reported, and which secrets are in it.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from secrets import token_urlsafe
from typing import Any
from urllib.parse import urlencode

FORM = "application/x-www-form-urlencoded"
CASES: dict[str, Callable[[], list[str]]] = {}
"""By name: a function that makes something raise and returns the secrets that it used."""


def case(function: Callable[[], list[str]]) -> Callable[[], list[str]]:
    CASES[function.__name__] = function
    return function


class Failed(Exception):
    pass


def fail(*args: Any, **kwargs: Any) -> Any:
    raise Failed("a function of the site failed")


def unserialisable(**kwargs: Any) -> dict[str, Any]:
    return {"claim": object()}


# The imports of Django are inside, because this module is also read for the names of its cases.


def client(application_type: str = "web") -> Any:
    from tests.factories import ClientFactory

    return ClientFactory(application_type=application_type)


def tokens(of: Any) -> Any:
    from django_ciam_token.api import issue_tokens
    from tests.factories import UserFactory

    user = None if of.application_type == "m2m" else UserFactory()
    return issue_tokens(client=of, user=user, scope=" ".join(of.scopes))


def settings(**changes: Any) -> Any:
    from django.conf import settings
    from django.test import override_settings

    return override_settings(CIAM_TOKEN={**settings.CIAM_TOKEN, **changes})


def send(path: str, form: Mapping[str, str] | None, *, status: int = 500, **headers: str) -> Any:
    """POST a form, or GET, by way of the WSGI application."""
    from django.core.handlers.wsgi import WSGIHandler
    from django.test import RequestFactory

    factory = RequestFactory(headers={name.replace("_", "-"): value for name, value in headers.items()})
    request = factory.get(path) if form is None else factory.post(path, urlencode(form), content_type=FORM)
    answer: list[str] = []
    body = WSGIHandler()(request.environ, lambda status, headers: answer.append(status))
    text = b"".join(body).decode()
    assert answer[0].startswith(str(status)), (path, answer, text)
    return text


def credentials(of: Any) -> dict[str, str]:
    return {"client_id": of.client_id, "client_secret": of.plain_secret}


def drawn() -> str:
    """Draw a secret: source lines are part of a report, so it must not be in them."""
    return token_urlsafe(24)


def basic(of: Any) -> str:
    return "Basic " + base64.b64encode(f"{of.client_id}:{of.plain_secret}".encode()).decode()


def refresh(*, header: bool = False, before: Callable[[str], object] = len, **changes: Any) -> list[str]:
    """Refresh while a setting names a function that raises."""
    web = client()
    first = tokens(web)
    form = {"grant_type": "refresh_token", "refresh_token": first["refresh_token"], "scope": "openid"}
    before(urlencode(form | credentials(web)))
    with settings(**changes):
        if header:
            send("/oauth2/token", form, authorization=basic(web))
        else:
            send("/oauth2/token", form | credentials(web))
    return [first["refresh_token"], web.plain_secret, basic(web)[6:]]


@case
def access_token_claims_raise() -> list[str]:
    return refresh(ACCESS_TOKEN_CLAIMS=fail)


@case
def access_token_claims_raise_with_basic() -> list[str]:
    return refresh(ACCESS_TOKEN_CLAIMS=fail, header=True)


@case
def access_token_claims_are_not_json() -> list[str]:
    return refresh(ACCESS_TOKEN_CLAIMS=unserialisable)


@case
def id_token_claims_raise() -> list[str]:
    return refresh(ID_TOKEN_CLAIMS=fail)


@case
def subject_raises() -> list[str]:
    return refresh(SUBJECT=fail)


@case
def policy_raises() -> list[str]:
    return refresh(ISSUANCE_POLICY=fail)


@case
def client_address_raises() -> list[str]:
    return refresh(CLIENT_ADDRESS=fail)


@case
def claims_raise_in_a_replay() -> list[str]:
    def rotate(form: str) -> None:
        from urllib.parse import parse_qsl

        rotated.append(json.loads(send("/oauth2/token", dict(parse_qsl(form)), status=200))["refresh_token"])

    rotated: list[str] = []
    return [*refresh(before=rotate, ACCESS_TOKEN_CLAIMS=fail), *rotated]


def ticket_grant(request: Any) -> Any:
    from django_ciam_token.grants import require

    assert require(request.parameters, "ticket").startswith("ticket-")
    assert dict(request.parameters)["ticket"] == request.parameters["ticket"]
    return fail()


@case
def a_grant_of_the_site_raises() -> list[str]:
    web, ticket = client(), "ticket-" + drawn()
    with settings(GRANTS={"ticket": ticket_grant}):
        send("/oauth2/token", {"grant_type": "ticket", "ticket": ticket, **credentials(web)})
    return [ticket, web.plain_secret]


def statements_fail(word: str) -> Any:
    from django.db import ProgrammingError, connection

    def wrapper(execute: Any, sql: str, *args: Any) -> Any:
        if word in sql:
            raise ProgrammingError("no such column")
        return execute(sql, *args)

    return connection.execute_wrapper(wrapper)


@case
def the_database_fails_in_a_refresh() -> list[str]:
    with statements_fail('UPDATE "django_ciam_token_refreshtoken"'):
        return refresh()


@case
def a_throttle_of_the_site_raises() -> list[str]:
    web, token = client(), drawn()
    send("/throttled", {"grant_type": "refresh_token", "refresh_token": token, **credentials(web)})
    return [token, web.plain_secret]


@case
def a_throttle_of_the_site_raises_after_reading_the_form() -> list[str]:
    web, token = client(), drawn()
    send("/throttled?read", {"grant_type": "refresh_token", "refresh_token": token, **credentials(web)})
    return [token, web.plain_secret]


@case
def an_error_handler_of_the_site_raises() -> list[str]:
    """While it answers a refusal, whose frames had just read the Authorization header."""
    web = client()
    header = "Basic " + base64.b64encode(f":{web.plain_secret}".encode()).decode()
    send("/unhandled", {"grant_type": "refresh_token", "refresh_token": "x"}, authorization=header)
    return [web.plain_secret, header[6:]]


@case
def middleware_raises_after_the_answer() -> list[str]:
    from django.test import modify_settings

    with modify_settings(MIDDLEWARE={"prepend": f"{__name__}.raises_afterwards"}):
        web = client()
        first = tokens(web)
        form = {"grant_type": "refresh_token", "refresh_token": first["refresh_token"], **credentials(web)}
        send("/oauth2/token", form)
    return [first["refresh_token"], web.plain_secret]


def raises_afterwards(get_response: Any) -> Any:
    def middleware(request: Any) -> Any:
        get_response(request)
        return fail()

    return middleware


@case
def middleware_raises_after_a_refused_body() -> list[str]:
    from django.test import modify_settings

    token = drawn()
    with modify_settings(MIDDLEWARE={"prepend": f"{__name__}.raises_afterwards"}):
        send("/oauth2/token?refresh_token=x", {"refresh_token": token})
    return [token]


@case
def revocation_fails_in_the_database() -> list[str]:
    web = client()
    first = tokens(web)
    with statements_fail('UPDATE "django_ciam_token_refreshtoken"'):
        send("/oauth2/revoke", {"token": first["refresh_token"], **credentials(web)})
    return [first["refresh_token"], web.plain_secret]


@case
def revocation_of_an_access_token_fails_in_the_database() -> list[str]:
    web = client()
    first = tokens(web)
    with statements_fail("django_ciam_token_revokedaccesstoken"):
        send("/oauth2/revoke", {"token": first["access_token"], **credentials(web)})
    return [first["access_token"], web.plain_secret]


@case
def subject_raises_in_an_introspection() -> list[str]:
    web = client()
    first = tokens(web)
    with settings(SUBJECT=fail):
        send("/oauth2/introspect", {"token": first["refresh_token"], **credentials(web)})
    return [first["refresh_token"], web.plain_secret]


@case
def user_of_subject_raises_in_an_introspection() -> list[str]:
    web = client()
    web.refresh_tokens_enabled = False
    web.save()
    first = tokens(web)
    with settings(USER_OF_SUBJECT=fail):
        send(
            "/oauth2/introspect",
            {"token": first["access_token"], **credentials(web)},
            authorization="Bearer x",
        )
    return [first["access_token"], web.plain_secret]


@case
def the_keys_cannot_be_read() -> list[str]:
    from django_ciam_token.keys import key_set

    web = client()
    first = tokens(web)
    key_set.forget()
    with statements_fail("django_ciam_token_signingkey"):
        send("/userinfo", None, authorization=f"Bearer {first['access_token']}")
    key_set.forget()
    return [first["access_token"]]


@case
def user_claims_raise() -> list[str]:
    first = tokens(client())
    with settings(USER_CLAIMS=fail):
        send("/userinfo", None, authorization=f"Bearer {first['access_token']}")
    return [first["access_token"]]


@case
def user_of_subject_raises_at_a_view_of_the_site() -> list[str]:
    web = client()
    web.refresh_tokens_enabled = False
    web.save()
    first = tokens(web)
    with settings(USER_OF_SUBJECT=fail):
        send("/orders", None, authorization=f"Bearer {first['access_token']}")
    return [first["access_token"]]


@case
def a_view_of_the_site_raises() -> list[str]:
    first = tokens(client())
    send("/orders", None, authorization=f"Bearer {first['access_token']}")
    return [first["access_token"]]


@case
def claims_raise_in_issue_tokens() -> list[str]:
    issued, encode = watched()
    with settings(ID_TOKEN_CLAIMS=fail):
        send("/login", {})
    encode()
    return issued


@case
def the_user_model_raises_in_issue_tokens() -> list[str]:
    from django.contrib.auth.models import User

    issued, encode = watched()
    User.get_session_auth_hash = fail  # type: ignore[method-assign]
    try:
        send("/login", {})
    finally:
        del User.get_session_auth_hash
    encode()
    return issued


@case
def the_database_fails_in_issue_tokens() -> list[str]:
    issued, encode = watched()
    with statements_fail('INSERT INTO "django_ciam_token_refreshtoken"'):
        send("/login", {})
    encode()
    return issued


def watched() -> tuple[list[str], Callable[[], None]]:
    """Note every token that is made, and every secret that is drawn; call the second to stop."""
    from django_ciam_token.crypto import jose, refresh_token_string

    noted: list[str] = []
    stack = ExitStack()
    for owner, name in (
        (refresh_token_string, "new_secret"),
        (refresh_token_string, "encode"),
        (jose, "sign"),
    ):
        original = getattr(owner, name)

        def wrapper(*args: Any, original: Any = original, **kwargs: Any) -> Any:
            made = original(*args, **kwargs)
            noted.append(made if isinstance(made, str) else repr(made)[2:-1])
            return made

        setattr(owner, name, wrapper)
        stack.callback(setattr, owner, name, original)
    return noted, stack.close


# The process.


class LocalVariables(logging.Formatter):
    """Prints the variables of every frame of a traceback and of the stack, and the items of every mapping."""

    def formatException(self, exc_info: Any) -> str:  # noqa: N802
        lines, error = [], exc_info[1]
        while error is not None:
            lines.append(repr(error))
            trace = error.__traceback__
            while trace is not None:
                lines += shown(trace.tb_frame.f_locals)
                trace = trace.tb_next
            error = error.__cause__ or error.__context__
        return "\n".join(lines)


def shown(value: Any, depth: int = 4) -> list[str]:
    try:
        lines = [repr(value)]
    except Exception:  # noqa: BLE001 - a queryset asks the database
        return []
    if depth and isinstance(value, Mapping):
        for inner in value.values():
            lines += shown(inner, depth - 1)
    elif depth and isinstance(value, (list, tuple, set)):
        for inner in value:
            lines += shown(inner, depth - 1)
    return lines


def secret_parts(secret: str) -> list[str]:
    """The whole string, its halves, since reports shorten strings, and the bytes of the secret in a token."""
    parts = [secret, secret[: len(secret) // 2], secret[len(secret) // 2 :]]
    if secret.startswith("ciam_rt1_"):
        raw = base64.urlsafe_b64decode(secret.removeprefix("ciam_rt1_") + "=")
        parts += [repr(raw[20:52])[2:-1], raw[20:52].hex()]
    return parts


def urlpatterns_of_the_site() -> list[Any]:
    from django.contrib import admin
    from django.http import JsonResponse
    from django.urls import include, path
    from rest_framework.decorators import api_view, authentication_classes
    from rest_framework.throttling import BaseThrottle

    from django_ciam_token.api import issue_tokens
    from django_ciam_token.resource_server import AccessTokenAuthentication, access_token_required
    from django_ciam_token.views.token import TokenView
    from tests.factories import ClientFactory, UserFactory

    class Broken(BaseThrottle):
        def allow_request(self, request: Any, view: Any) -> bool:
            if "read" in request.query_params:
                assert request.data["grant_type"] == request.POST["grant_type"]
            return bool(fail())

    class Throttled(TokenView):
        throttle_classes = (Broken,)

    class Unhandled(TokenView):
        def handle_exception(self, exc: Exception) -> Any:
            return fail()

    @api_view(["GET"])
    @authentication_classes([AccessTokenAuthentication])
    def orders(request: Any) -> Any:
        return fail()

    def login(request: Any) -> Any:
        return JsonResponse(issue_tokens(client=ClientFactory(), user=UserFactory(), request=request))

    return [
        path("", include("django_ciam_token.urls")),
        path("throttled", Throttled.as_view()),
        path("unhandled", Unhandled.as_view()),
        path("orders", orders),
        path("decorated", access_token_required(scopes=["openid"])(fail)),
        path("ninja/", ninja_api().urls),
        path("admin/", admin.site.urls),
        path("login", login),
    ]


def ninja_api() -> Any:
    from ninja import NinjaAPI

    from django_ciam_token.integrations.django_ninja import AccessTokenAuth, send_challenges

    api = NinjaAPI(auth=AccessTokenAuth(scopes=["openid"]))
    send_challenges(api)
    api.get("/orders")(lambda request: fail())
    return api


class Reported:
    """Everything that was reported. Not a list: it must not report itself."""

    def __init__(self) -> None:
        self.texts: list[str] = []


def start(directory: str, **options: Any) -> Reported:
    """Set up Django and sentry-sdk; return what everything reported is added to."""
    os.environ["DATABASE_URL"] = f"sqlite:///{directory}/db.sqlite3"
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    import django
    import sentry_sdk
    from django.conf import settings
    from sentry_sdk.transport import Transport

    reported = Reported()

    class Captured(Transport):
        def capture_envelope(self, envelope: Any) -> None:
            reported.texts.extend(json.dumps(item.payload.json, default=repr) for item in envelope.items)

    sentry_sdk.init(dsn="https://key@sentry.invalid/1", transport=Captured, **options)
    settings.ADMINS = ["admin@example.com"] if django.VERSION >= (6,) else [("admin", "admin@example.com")]
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    settings.ROOT_URLCONF = "tests.error_reports.urls"
    settings.INSTALLED_APPS = [name for name in settings.INSTALLED_APPS if name != "portal"]
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if "csrf" not in name.lower()]
    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    listen(reported)
    return reported


def listen(reported: Reported) -> None:
    from django.core import mail
    from django.utils.log import AdminEmailHandler

    mail.outbox = []

    class Mailed(AdminEmailHandler):
        def emit(self, record: Any) -> None:
            super().emit(record)
            for message in mail.outbox:
                reported.texts.extend([str(message.body), *(str(body) for body, _ in message.alternatives)])
            mail.outbox.clear()

    class Formatted(logging.Handler):
        def emit(self, record: Any) -> None:
            reported.texts.append(self.format(record))

    formatted = Formatted()
    formatted.setFormatter(LocalVariables())
    mailed = Mailed(include_html=True)
    mailed.setLevel(logging.ERROR)
    for handler in (mailed, formatted):
        logging.getLogger().addHandler(handler)
    for name in ("django", "django.request"):
        logging.getLogger(name).handlers = []
        logging.getLogger(name).propagate = True


def run(reported: Reported) -> dict[str, Any]:
    outcome = {}
    for name, play in CASES.items():
        reported.texts.clear()
        secrets = play()
        everything = "\n".join(reported.texts).replace("\\\\", "\\")
        outcome[name] = {
            "kinds": [kind for kind, mark in KINDS.items() if mark in everything],
            "leaks": [
                secret for secret in secrets if any(part in everything for part in secret_parts(secret))
            ],
        }
    return outcome


KINDS = {
    "sentry": '"stacktrace": {"frames": [{',
    "mail": "Exception Type: ",
    "html": "<title>",
    "log": "self",
}
"""How to tell that something was reported in this way."""


if __name__ == "__main__":
    sys.modules["tests.error_reports.site"] = sys.modules["__main__"]
    for more in ("operators", "people"):
        import_module(f"tests.error_reports.{more}")
    with tempfile.TemporaryDirectory() as directory:
        options = json.loads(sys.argv[1])
        found = run(start(directory, **options))
        Path(sys.argv[2]).write_text(json.dumps(found))
