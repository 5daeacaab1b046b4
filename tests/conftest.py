from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache, partial
from itertools import cycle
from typing import Any
from urllib.parse import urlencode

import pytest
from django.core.cache import cache
from django.db import OperationalError, connection, models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.dispatch import Signal
from django.http import HttpResponse
from django.test import Client as Browser
from django.test import override_settings

from django_ciam_token import signals
from django_ciam_token.api import issue_tokens
from django_ciam_token.authorization import continuation
from django_ciam_token.clients import authentication, secrets
from django_ciam_token.concealed import Concealed
from django_ciam_token.crypto import authorization_code_string, jose, refresh_token_string
from django_ciam_token.grants import rotating
from django_ciam_token.integrations import cors_headers
from django_ciam_token.keys import key_set, signing_keys
from django_ciam_token.models import Client, SigningKey
from django_ciam_token.monitoring import audit_trail, health, refresh_counter
from django_ciam_token.views.throttling import FailureThrottle
from tests import other_package
from tests.factories import ClientFactory, UserFactory
from tests.operators import browser_of
from tests.partitions import PARTITIONS, partition

TOKEN_URL = "/oauth2/token"


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> None:
    """With CIAM_PARTITIONED=8 every test runs on a table of sessions with eight partitions."""
    if PARTITIONS:
        with django_db_blocker.unblock():
            partition(PARTITIONS)


@pytest.fixture(scope="session", autouse=True)
def _each_private_key_is_parsed_once() -> Iterator[None]:
    """OpenSSL checks an RSA key for 40 ms whenever it is parsed: a third of the time of all tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jose, "load_pem_private_key", lru_cache(maxsize=None)(jose.load_pem_private_key))
        yield


@pytest.fixture(scope="session", autouse=True)
def _few_first_keys_are_made() -> Iterator[None]:
    """Each flush needs a first key, and making an RSA key takes longer than most tests."""
    ensure_first_key = signing_keys.ensure_first_key
    make = jose.generate_private_key
    # One after the other, since some tests move from one database to the next.
    first_keys = cycle([partial(lru_cache(make), "RS256") for _ in range(3)])

    def ensured(*, using: str) -> SigningKey | None:
        generate = jose.generate_private_key

        def generated(algorithm: str) -> bytes:
            is_alone = algorithm == "RS256" and not SigningKey.objects.using(using).exists()
            return next(first_keys)() if is_alone else generate(algorithm)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(jose, "generate_private_key", generated)
            return ensure_first_key(using=using)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(signing_keys, "ensure_first_key", ensured)
        yield


@pytest.fixture(scope="session", autouse=True)
def _tables_are_emptied_by_delete() -> Iterator[None]:
    """Empty small tables with DELETE after a test that commits: PostgreSQL takes 0.1 s to truncate them."""
    with pytest.MonkeyPatch.context() as patch:
        if connection.vendor == "postgresql":
            truncations = type(connection.ops).sql_flush

            def deletions(self: Any, style: Any, tables: list[str], **options: Any) -> list[str]:
                if options.get("reset_sequences"):
                    return truncations(self, style, tables, **options)
                # In any order: foreign keys are checked at COMMIT.
                return [f"DELETE FROM {self.quote_name(table)}" for table in tables]  # noqa: S608

            patch.setattr(type(connection.ops), "sql_flush", deletions)
        yield


@pytest.fixture(autouse=True)
def _fresh_caches() -> Iterator[None]:
    key_set.forget()
    cors_headers.forget()
    cache.clear()
    FailureThrottle.memory.forget()
    audit_trail.forget()
    continuation.forget()
    health.forget()
    authentication._not_noted.end()
    yield
    key_set.forget()
    cors_headers.forget()


@pytest.fixture(autouse=True)
def _refreshes_are_counted_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the statement with which a process writes its count, once a minute, out of what tests count."""
    monkeypatch.setattr(refresh_counter.counter, "_is_due", lambda tenant: False)


@pytest.fixture
def as_in_production(django_db_blocker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away the guards with which Django and pytest-django watch connections being used."""
    real = django_db_blocker._real_ensure_connection
    monkeypatch.setattr(BaseDatabaseWrapper, "ensure_connection", real)


@pytest.fixture(autouse=True)
def _no_pause_before_a_session_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look again at once before a predecessor that came too late is judged a reuse."""
    monkeypatch.setattr(rotating, "LOOKS_AGAIN_AFTER", (0,))


@dataclass
class Traces:
    """Every secret issued or used during a test, and everything that the test logged or signalled."""

    secrets: list[str] = field(default_factory=list)
    logged: list[str] = field(default_factory=list)
    signalled: list[tuple[Signal, dict[str, Any]]] = field(default_factory=list)

    def of(self, signal: Signal) -> list[dict[str, Any]]:
        """The arguments with which a signal was sent."""
        return [arguments for sent, arguments in self.signalled if sent is signal]


class _Collector(logging.Handler):
    def __init__(self, traces: Traces) -> None:
        super().__init__(logging.DEBUG)
        self.traces = traces
        self.setFormatter(logging.Formatter())

    def emit(self, record: logging.LogRecord) -> None:
        self.traces.logged.append(f"{self.format(record)} {vars(record)!r}")


@pytest.fixture(autouse=True)
def traces(monkeypatch: pytest.MonkeyPatch) -> Iterator[Traces]:
    """Assert after every test that no secret it issued is in a log record, a signal argument or a repr."""
    traces = Traces()

    def record(owner: Any, name: str) -> None:
        original = getattr(owner, name)

        def wrapper(*args: Any, **kwargs: Any) -> Any:
            result = original(*args, **kwargs)
            traces.secrets.append(_searchable(result))
            return result

        monkeypatch.setattr(owner, name, wrapper)

    def record_verifier(verifier: str) -> str:
        traces.secrets.append(verifier)
        return challenge_of(verifier)

    challenge_of = authorization_code_string.challenge_of
    monkeypatch.setattr(authorization_code_string, "challenge_of", record_verifier)
    record(refresh_token_string, "encode")
    record(authorization_code_string, "encode")
    record(jose, "sign")
    record(jose, "generate_private_key")
    record(secrets, "_new_secret")

    def receive(sender: Any, signal: Signal, **arguments: Any) -> None:
        traces.signalled.append((signal, {"sender": sender, **arguments}))

    sent = [value for value in vars(signals).values() if isinstance(value, Signal)]
    for signal in sent:
        signal.connect(receive, dispatch_uid="traces")
    logger = logging.getLogger()
    handler = _Collector(traces)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield traces
    logger.removeHandler(handler)
    logger.setLevel(level)
    for signal in sent:
        signal.disconnect(dispatch_uid="traces")
    everything = "\n".join([*traces.logged, *(_contents(args) for _, args in traces.signalled)])
    for secret in traces.secrets:
        assert secret not in everything, "a secret leaked into a log record or a signal"


def _searchable(secret: str | bytes | Concealed) -> str:
    """The part of a secret to search for; the second line of a private key, because a repr joins lines."""
    if isinstance(secret, Concealed):
        return secret.reveal()
    return secret if isinstance(secret, str) else secret.decode().splitlines()[1]


def _contents(arguments: dict[str, Any]) -> str:
    """The repr of every argument, and of every field of arguments that are rows."""
    rows = [value for value in arguments.values() if isinstance(value, models.Model)]
    fields = [getattr(row, field.attname) for row in rows for field in row._meta.concrete_fields]
    return repr(arguments) + repr(fields)


@pytest.fixture
def other_tokens_accepted() -> Iterator[None]:
    """The site takes over the tokens of `tests.other_package`, which knows none yet."""
    other_package.forget()
    with override_settings(CIAM_TOKEN=other_package.SETTINGS):
        yield
    other_package.forget()


@pytest.fixture
def user(db: None) -> Any:
    return UserFactory()


@pytest.fixture
def web_client(db: None) -> Client:
    return ClientFactory()


@pytest.fixture
def spa_client(db: None) -> Client:
    return ClientFactory(application_type="spa")


@pytest.fixture
def machine(db: None) -> Client:
    return ClientFactory(application_type="m2m")


@pytest.fixture
def first_tokens(web_client: Client, user: Any) -> dict[str, Any]:
    """The first tokens of `user` for `web_client`."""
    return issue_tokens(client=web_client, user=user)


@pytest.fixture
def operator(db: None) -> Browser:
    """The browser of an operator who may do everything."""
    return browser_of(is_superuser=True)


@pytest.fixture
def viewer(db: None) -> Browser:
    """The browser of an operator who may see everything and change nothing."""
    seen = ("refreshtoken", "client", "signingkey", "user", "securityevent")
    return browser_of(*(f"view_{model}" for model in seen))


@pytest.fixture
def key_has_signed(db: None) -> Callable[[], None]:
    """Note that the first key has signed, which the first signature would do in a transaction of its own."""

    def key_has_signed() -> None:
        SigningKey.objects.update(is_provisional=False)
        key_set.forget()

    return key_has_signed


@pytest.fixture
def break_next_commit(
    monkeypatch: pytest.MonkeyPatch, key_has_signed: Callable[[], None]
) -> Iterator[Callable[[], list[int]]]:
    """Let the connection break in the next COMMIT, after it succeeded but before that is confirmed.

    What it returns is empty until that has happened.
    """

    asked: list[list[int]] = []

    def break_next_commit() -> list[int]:
        key_has_signed()
        commit = connection._commit
        failures: list[int] = []
        asked.append(failures)

        def uncertain_commit() -> None:
            commit()
            if not failures:
                failures.append(1)
                raise OperationalError("server closed the connection unexpectedly")

        monkeypatch.setattr(connection, "_commit", uncertain_commit)
        return failures

    yield break_next_commit
    assert all(asked), "nothing was committed, so the test has shown nothing"


Refresh = Callable[..., HttpResponse]


def post_form(
    parameters: dict[str, Any] | list[tuple[str, str]], *, url: str = TOKEN_URL, **extra: Any
) -> HttpResponse:
    """POST a form, by default to the token endpoint."""
    browser = Browser(raise_request_exception=False)
    body = urlencode(parameters)
    return browser.post(url, body, content_type="application/x-www-form-urlencoded", **extra)


@pytest.fixture
def refresh() -> Refresh:
    """Refresh as a client that sends its credentials in the form."""

    def refresh(client: Client, refresh_token: Any, **parameters: str) -> HttpResponse:
        form = {
            "grant_type": "refresh_token",
            "client_id": client.client_id,
            "refresh_token": refresh_token,
            **parameters,
        }
        secret = getattr(client, "plain_secret", None)
        if secret is not None:
            form.setdefault("client_secret", secret)
        return post_form(form)

    return refresh
