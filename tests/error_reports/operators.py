"""What fails while operators make, show and bring over secrets: in the admin, in commands, in Python."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.error_reports.people import SESSIONS, browser_of, templates_fail_once
from tests.error_reports.site import case, client, drawn, fail, statements_fail
from tests.error_reports.site import tokens as first_tokens

SECRETS = 'INSERT INTO "django_ciam_token_clientsecret"'
INSPECTION = "/admin/django_ciam_token/refreshtoken/find-by-token/"


def operator() -> Any:
    from tests.factories import UserFactory

    return browser_of(UserFactory(is_staff=True, is_superuser=True))


def secrets_drawn_in(act: Callable[[], object]) -> list[str]:
    """Do what fails, report its error as error trackers do, and return the client secrets that were drawn."""
    from django_ciam_token.clients import secrets

    drawn_secrets: list[Any] = []
    new_secret = secrets._new_secret

    def noted() -> Any:
        drawn_secrets.append(new_secret())
        return drawn_secrets[-1]

    secrets._new_secret = noted
    try:
        reporting(act)
    finally:
        secrets._new_secret = new_secret
    assert drawn_secrets
    return [secret.reveal() for secret in drawn_secrets]


def reporting(act: Callable[[], object]) -> None:
    try:
        act()
    except Exception:
        logging.getLogger("site").exception("what a function of the site, or a command, did not catch")


@contextmanager
def the_commit_fails() -> Iterator[None]:
    """After it has happened."""
    from django.db import ProgrammingError, connection

    commit = connection._commit

    def fails() -> None:
        commit()
        raise ProgrammingError("the outcome is unknown")

    connection._commit = fails
    try:
        yield
    finally:
        del connection._commit


@case
def a_client_cannot_be_created() -> list[str]:
    def refused_in_statement() -> None:
        with statements_fail(SECRETS):
            client()

    def refused_in_commit() -> None:
        with the_commit_fails():
            client()

    return [*secrets_drawn_in(refused_in_statement), *secrets_drawn_in(refused_in_commit)]


@case
def a_client_secret_cannot_be_rotated() -> list[str]:
    from django_ciam_token.api import rotate_client_secret

    web = client()

    def refused_in_statement() -> None:
        with statements_fail(SECRETS):
            rotate_client_secret(web)

    def refused_in_commit() -> None:
        with the_commit_fails():
            rotate_client_secret(web)

    return [*secrets_drawn_in(refused_in_statement), *secrets_drawn_in(refused_in_commit)]


@case
def the_admin_fails_after_a_secret_was_replaced() -> list[str]:
    web, browser = client(), operator()

    def act() -> None:
        with statements_fail("django_admin_log"):
            assert replace_secret(browser, web).status_code == 500

    return secrets_drawn_in(act)


@case
def the_admin_fails_while_a_new_secret_is_shown() -> list[str]:
    web, browser = client(), operator()

    def show() -> None:
        page = replace_secret(browser, web)["Location"]
        templates_fail_once(lambda: browser.get(page))

    return secrets_drawn_in(show)


def replace_secret(browser: Any, web: Any) -> Any:
    form = {"overlap": "0", "confirmed": "yes"}
    return browser.post(f"/admin/django_ciam_token/client/{web.pk}/replace-secret/", form)


@case
def a_token_cannot_be_inspected() -> list[str]:
    first, browser = first_tokens(client()), operator()
    inspected = [first["refresh_token"], first["access_token"]]
    for token in inspected:
        with statements_fail(f"FROM {SESSIONS}"):
            assert browser.post(INSPECTION, {"token": token}).status_code == 500
        form = {"token": token}
        templates_fail_once(lambda form=form: browser.post(INSPECTION, form))
    return inspected


class BrokenPipe:
    def write(self, text: str) -> None:
        fail()


@case
def a_command_cannot_write_a_secret() -> list[str]:
    from django.core.management import call_command

    web = client()

    def written(*arguments: str) -> list[str]:
        return secrets_drawn_in(lambda: call_command(*arguments, stdout=BrokenPipe()))

    return [
        *written("rotate_client_secret", web.client_id),
        *written("rotate_client_secret", web.client_id, "--json"),
        *written("create_client", "Portal", "--type=web"),
        *written("create_client", "Portal", "--type=web", "--json"),
    ]


@case
def a_secret_in_clear_cannot_be_brought_over() -> list[str]:
    from django_ciam_token.clients.importing import ForeignClient, import_client
    from django_ciam_token.concealed import Concealed
    from django_ciam_token.models import ApplicationType

    secret = drawn() + drawn()
    foreign = ForeignClient(
        client_id="brought-over",
        name="Brought over",
        application_type=ApplicationType.WEB,
        scope=("openid",),
        secret=Concealed(secret),
        is_secret_hashed=False,
    )
    with statements_fail(SECRETS):
        reporting(lambda: import_client(foreign))
    return [secret]


@case
def a_private_key_cannot_be_brought_over() -> list[str]:
    from django_ciam_token.api import import_signing_key
    from django_ciam_token.crypto import jose

    held = [jose.generate_private_key("ES256")]
    line = held[0].decode().splitlines()[1]
    with statements_fail('INSERT INTO "django_ciam_token_signingkey"'):
        reporting(lambda: import_signing_key(held.pop()))
    return [line]
