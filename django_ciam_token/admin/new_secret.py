"""The only page that shows a client secret, once.

A redirect separates generating a secret from showing it, so that reloading the page generates no second one.
Meanwhile the secret is in the operator's session, encrypted, because the session may be a cookie.
"""

from __future__ import annotations

import json
from typing import Final

from django.http import HttpRequest

from django_ciam_token.concealed import Concealed
from django_ciam_token.crypto import site_keys
from django_ciam_token.models import Client

_KEPT_AS: Final = "django_ciam_token_new_secret"
SHOWN_WITHIN: Final = 300
"""For how many seconds after its creation a secret can be shown."""


def keep(request: HttpRequest, client: Client, secret: Concealed) -> None:
    """Keep a new secret until the next page shows it."""
    kept = Concealed(json.dumps({"client": client.pk, "secret": secret.reveal()}))
    request.session[_KEPT_AS] = site_keys.encrypt(kept.reveal().encode(), purpose=site_keys.SHOWN_ONCE)


def take(request: HttpRequest, client: Client) -> Concealed | None:
    """Return the kept secret and remove it; None if there is none for this client."""
    kept = request.session.pop(_KEPT_AS, None)
    if kept is None:
        return None
    try:
        content = json.loads(site_keys.decrypt(kept, purpose=site_keys.SHOWN_ONCE, max_age=SHOWN_WITHIN))
    except site_keys.Undecryptable:
        return None
    return Concealed(str(content["secret"])) if content["client"] == client.pk else None
