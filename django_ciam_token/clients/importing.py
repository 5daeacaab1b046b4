"""Registering clients that another package knew, under their own client_ids and with their own secrets."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError
from django.db import transaction

from django_ciam_token.clients.secrets import import_client_secret, import_plain_secret
from django_ciam_token.concealed import Concealed
from django_ciam_token.conf import ciam_settings
from django_ciam_token.database.routing import write_database
from django_ciam_token.models import ApplicationType, Client
from django_ciam_token.models.redirect_uris import check_redirect_uri
from django_ciam_token.models.validators import validate_origins


@dataclass(frozen=True, kw_only=True)
class ForeignClient:
    """A client as the other package has it."""

    client_id: str
    name: str
    application_type: ApplicationType
    scope: tuple[str, ...]
    """All that it may be granted."""
    secret: Concealed | None = field(default=None, repr=False)
    """As it is stored; None for a public client."""
    is_secret_hashed: bool = True
    """Whether that is a Django password hash; otherwise it is the secret itself."""
    redirect_uris: tuple[str, ...] = ()
    post_logout_redirect_uris: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    asks_consent: bool = False
    requires_pkce: bool = False
    may_use_client_credentials: bool = False
    refresh_tokens_enabled: bool = True
    remarks: tuple[str, ...] = ()
    """What is different from now on."""


@dataclass(frozen=True)
class ImportedClient:
    """What became of a client."""

    client: Client | None
    """None if it was left out."""
    is_new: bool = False
    remarks: tuple[str, ...] = ()
    """What was not taken over, and why; or why nothing was."""


def application_type(
    *, is_confidential: bool, is_machine: bool, redirect_uris: Iterable[str]
) -> ApplicationType:
    """Tell the type of an application that only says whether it keeps a secret, and where it is."""
    if is_confidential:
        return ApplicationType.M2M if is_machine else ApplicationType.WEB
    is_on_the_web = any(_is_on_the_web(uri) for uri in redirect_uris)
    return ApplicationType.SPA if is_on_the_web else ApplicationType.MOBILE


def import_client(foreign: ForeignClient, *, dry_run: bool = False) -> ImportedClient:
    """Register a client, unless there is one with its client_id; that stays as it is.

    Args:
        foreign: as the other package has it.
        dry_run: register nothing, and say what would be done.
    """
    using = write_database(Client)
    known = Client.objects.using(using).filter(client_id=foreign.client_id)
    for client in known:
        return ImportedClient(client)
    remarks = list(foreign.remarks)
    client = _client(foreign, remarks)
    try:
        client.full_clean()
    except ValidationError as error:
        return ImportedClient(None, remarks=tuple(_reasons(error)))
    if not dry_run:
        with transaction.atomic(using=using):
            client.save(using=using, force_insert=True)
            remarks += _keep_secret(client, foreign)
    elif client.must_have_secret and foreign.secret is None:
        remarks.append(_NO_SECRET)
    return ImportedClient(client, is_new=True, remarks=tuple(remarks))


_NO_SECRET = "it has no secret; give it one with: manage.py rotate_client_secret"


def missing_scopes(scopes: Iterable[str]) -> set[str]:
    """Return those scopes that the setting ``SCOPES`` does not have."""
    return set(scopes) - set(ciam_settings.SCOPES)


def _client(foreign: ForeignClient, remarks: list[str]) -> Client:
    kind = foreign.application_type

    def check_uri(uri: str) -> None:
        check_redirect_uri(uri, application_type=kind)

    def good(what: str, values: Collection[str], check: Callable[[str], None]) -> str:
        kept = list(_accepted(what, values, check, remarks))
        return "\n".join(kept)

    return Client(
        client_id=foreign.client_id,
        name=foreign.name[:200] or foreign.client_id,
        application_type=kind,
        scope=" ".join(foreign.scope),
        redirect_uris=good("redirect URI", foreign.redirect_uris, check_uri),
        post_logout_redirect_uris=good(
            "post-logout redirect URI", foreign.post_logout_redirect_uris, check_uri
        ),
        allowed_origins=good("origin", foreign.allowed_origins, validate_origins),
        asks_consent=foreign.asks_consent,
        requires_pkce=foreign.requires_pkce,
        may_use_client_credentials=foreign.may_use_client_credentials,
        refresh_tokens_enabled=foreign.refresh_tokens_enabled,
    )


def _accepted(
    what: str, values: Collection[str], check: Callable[[str], None], remarks: list[str]
) -> Iterator[str]:
    for value in values:
        problem = _problem(value, check)
        if problem:
            remarks.append(f"{what} left out: {problem}")
        else:
            yield value


def _problem(value: str, check: Callable[[str], None]) -> str:
    try:
        check(value)
    except ValidationError as error:
        return " ".join(error.messages)
    return ""


def _keep_secret(client: Client, foreign: ForeignClient) -> Iterator[str]:
    if foreign.secret is None:
        if client.must_have_secret:
            yield _NO_SECRET
        return
    keep = import_client_secret if foreign.is_secret_hashed else import_plain_secret
    try:
        foreign.secret.lend(partial(keep, client))
    except ValueError as error:
        yield f"its secret can't be kept: {error}. Give it one with: manage.py rotate_client_secret"


def _reasons(error: ValidationError) -> Iterator[str]:
    for name, messages in sorted(error.message_dict.items()):
        yield f"{name}: {' '.join(messages)}"


def _is_on_the_web(uri: str) -> bool:
    try:
        parts = urlsplit(uri)
    except ValueError:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname not in ("127.0.0.1", "::1"))
