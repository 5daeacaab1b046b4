"""The only page that shows a client secret, once.

A redirect separates generating a secret from showing it, so that reloading the page generates no second one.
Meanwhile the secret is in the operator's session, encrypted, because the session may be a cookie.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables

from django_ciam_token.conf import ciam_settings
from django_ciam_token.crypto import site_keys
from django_ciam_token.models import Client

_KEPT_AS: Final = "django_ciam_token_new_secret"
SHOWN_WITHIN: Final = 300
"""For how many seconds after its creation a secret can be shown."""


@dataclass(frozen=True)
class Snippet:
    """Something to paste: a command, or the settings of a client library."""

    name: str
    text: str = field(repr=False)


@sensitive_variables()
def keep(request: HttpRequest, client: Client, secret: str) -> None:
    """Keep a new secret until the next page shows it."""
    kept = json.dumps({"client": client.pk, "secret": secret})
    request.session[_KEPT_AS] = site_keys.encrypt(kept.encode(), purpose=site_keys.SHOWN_ONCE)


@sensitive_variables()
def take(request: HttpRequest, client: Client) -> str | None:
    """Return the kept secret and remove it; None if there is none for this client."""
    kept = request.session.pop(_KEPT_AS, None)
    if kept is None:
        return None
    try:
        content = json.loads(site_keys.decrypt(kept, purpose=site_keys.SHOWN_ONCE, max_age=SHOWN_WITHIN))
    except site_keys.Undecryptable:
        return None
    return str(content["secret"]) if content["client"] == client.pk else None


@sensitive_variables()
def snippets(client: Client, secret: str | None) -> list[Snippet]:
    """Return snippets for a developer to start with.

    Args:
        client: the client.
        secret: None for a public client.
    """
    issuer, token_url = ciam_settings.ISSUER, _token_url()
    curl_secret = "" if secret is None else f"    -d client_secret={secret} \\\n"
    python_secret = "" if secret is None else f'    client_secret="{secret}",\n'
    method = "none" if secret is None else "client_secret_basic"
    node_arguments = f'new URL("{issuer}"), "{client.client_id}"'
    if secret is not None:
        node_arguments += f', "{secret}"'
    environment = f"OIDC_ISSUER={issuer}\nOIDC_CLIENT_ID={client.client_id}\n"
    environment += "" if secret is None else f"OIDC_CLIENT_SECRET={secret}\n"
    spring = "spring.security.oauth2.client"
    scope = ",".join(client.scopes)
    return [
        Snippet(
            "curl",
            f"curl -s {token_url} \\\n    -d grant_type=refresh_token \\\n"
            f"    -d client_id={client.client_id} \\\n{curl_secret}    -d refresh_token=…",
        ),
        Snippet(_("Environment variables"), environment),
        Snippet(
            "Authlib (Python)",
            "from authlib.integrations.requests_client import OAuth2Session\n\n"
            f'session = OAuth2Session(\n    client_id="{client.client_id}",\n{python_secret}'
            f'    token_endpoint_auth_method="{method}",\n    token_endpoint="{token_url}",\n)',
        ),
        Snippet(
            "openid-client (Node.js)",
            'import * as oidc from "openid-client";\n\n'
            f"const config = await oidc.discovery({node_arguments});\n"
            "const tokens = await oidc.refreshTokenGrant(config, refreshToken);",
        ),
        Snippet(
            "Spring Security",
            f"{spring}.provider.portal.issuer-uri={issuer}\n"
            f"{spring}.registration.portal.client-id={client.client_id}\n"
            + ("" if secret is None else f"{spring}.registration.portal.client-secret={secret}\n")
            + f"{spring}.registration.portal.client-authentication-method={method}\n"
            f"{spring}.registration.portal.scope={scope}",
        ),
    ]


def _token_url() -> str:
    issuer = urlsplit(ciam_settings.ISSUER)
    try:
        path = reverse("django_ciam_token:token")
    except NoReverseMatch:  # The endpoints are on another host of the site.
        path = "/oauth2/token"
    return f"{issuer.scheme}://{issuer.netloc}{path}"
