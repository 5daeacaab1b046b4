"""What a developer pastes to begin: settings of client libraries, for each type of application."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Final
from urllib.parse import urlsplit

from django.urls import NoReverseMatch, reverse
from django.utils.translation import gettext as _

from django_ciam_token.concealed import Concealed
from django_ciam_token.conf import ciam_settings
from django_ciam_token.models import ApplicationType, Client

_PLACEHOLDER: Final = "YOUR_CLIENT_SECRET"
_SPRING: Final = "spring.security.oauth2.client"


@dataclass(frozen=True)
class Snippet:
    """Something to paste: a command, or the settings of a client library."""

    name: str
    text: str = field(repr=False)


def snippets(client: Client, secret: Concealed | None, *, has_secret: bool) -> list[Snippet]:
    """Return snippets for a developer to start with.

    Args:
        client: the client.
        secret: None if it has none, or if it is not shown any more.
        has_secret: whether it must present one; what is not shown is then to be filled in.
    """
    # Made without the secret: what the site has to be asked may fail.
    blank = _to_be_filled_in(client, _PLACEHOLDER if has_secret else None)
    if secret is None or not has_secret:
        return blank
    return [Snippet(one.name, secret.lend(partial(one.text.replace, _PLACEHOLDER))) for one in blank]


def _to_be_filled_in(client: Client, secret: str | None) -> list[Snippet]:
    if client.application_type == ApplicationType.SPA:
        return [_oidc_client_ts(client), _curl(client, secret)]
    return [
        _curl(client, secret),
        Snippet(_("Environment variables"), _environment(client, secret)),
        _authlib(client, secret),
        _openid_client(client, secret),
        _spring(client, secret),
    ]


def _oidc_client_ts(client: Client) -> Snippet:
    redirect_uri = next(iter(client.redirect_uris.split()), "https://app.example.com/callback")
    return Snippet(
        "oidc-client-ts (JavaScript)",
        'import { UserManager } from "oidc-client-ts";\n\n'
        f'const manager = new UserManager({{\n  authority: "{ciam_settings.ISSUER}",\n'
        f'  client_id: "{client.client_id}",\n  redirect_uri: "{redirect_uri}",\n'
        f'  scope: "{client.scope}",\n}});\n\n'
        "// On the page of the redirect URI:\n"
        'if (new URLSearchParams(location.search).has("state")) {\n'
        "  await manager.signinRedirectCallback();\n}\n"
        "const user = await manager.getUser();\n"
        "if (!user) {\n  await manager.signinRedirect();\n}",
    )


def _curl(client: Client, secret: str | None) -> Snippet:
    secret_line = "" if secret is None else f"    -d client_secret={secret} \\\n"
    if client.application_type == ApplicationType.M2M:
        grant = "-d grant_type=client_credentials"
    else:
        grant = "-d grant_type=refresh_token -d refresh_token=…"
    return Snippet(
        "curl",
        f"curl -s {_token_url()} \\\n    -d client_id={client.client_id} \\\n{secret_line}    {grant}",
    )


def _environment(client: Client, secret: str | None) -> str:
    lines = f"OIDC_ISSUER={ciam_settings.ISSUER}\nOIDC_CLIENT_ID={client.client_id}\n"
    return lines if secret is None else f"{lines}OIDC_CLIENT_SECRET={secret}\n"


def _authlib(client: Client, secret: str | None) -> Snippet:
    secret_line = "" if secret is None else f'    client_secret="{secret}",\n'
    return Snippet(
        "Authlib (Python)",
        "from authlib.integrations.requests_client import OAuth2Session\n\n"
        f'session = OAuth2Session(\n    client_id="{client.client_id}",\n{secret_line}'
        f'    token_endpoint_auth_method="{_method(secret)}",\n    token_endpoint="{_token_url()}",\n)',
    )


def _openid_client(client: Client, secret: str | None) -> Snippet:
    arguments = f'new URL("{ciam_settings.ISSUER}"), "{client.client_id}"'
    arguments += "" if secret is None else f', "{secret}"'
    return Snippet(
        "openid-client (Node.js)",
        'import * as oidc from "openid-client";\n\n'
        f"const config = await oidc.discovery({arguments});\n"
        "const tokens = await oidc.refreshTokenGrant(config, refreshToken);",
    )


def _spring(client: Client, secret: str | None) -> Snippet:
    registration = f"{_SPRING}.registration.portal"
    return Snippet(
        "Spring Security",
        f"{_SPRING}.provider.portal.issuer-uri={ciam_settings.ISSUER}\n"
        f"{registration}.client-id={client.client_id}\n"
        + ("" if secret is None else f"{registration}.client-secret={secret}\n")
        + f"{registration}.client-authentication-method={_method(secret)}\n"
        f"{registration}.scope={','.join(client.scopes)}",
    )


def _method(secret: str | None) -> str:
    return "none" if secret is None else "client_secret_basic"


def _token_url() -> str:
    issuer = urlsplit(ciam_settings.ISSUER)
    try:
        path = reverse("django_ciam_token:token")
    except NoReverseMatch:  # The endpoints are on another host of the site.
        path = "/oauth2/token"
    return f"{issuer.scheme}://{issuer.netloc}{path}"
