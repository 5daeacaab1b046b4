"""The address at which a request goes on after the user has signed in: what the login page gets as ``next``.

Login pages judge ``next`` with Django's ``url_has_allowed_host_and_scheme``, which refuses more than 2,048
characters: people would end up on the site's front page. A longer request is therefore kept for an hour where
the site keeps its Django sessions, under a key of its own. That key opens nothing: anybody could send the
request itself. So the number of those that are kept is limited. What is over it stays in the address.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import import_module
from typing import Any, Final
from urllib.parse import urlencode

from django.conf import settings
from django.http import HttpRequest
from django.utils.encoding import escape_uri_path

from django_ciam_token.caller import Caller
from django_ciam_token.concealed import Form
from django_ciam_token.database.forks import after_fork
from django_ciam_token.database.routing import write_database
from django_ciam_token.database.tenants import tenant_key
from django_ciam_token.models import Client
from django_ciam_token.monitoring.allowance import Allowance

PARAMETER: Final = "ciam_request"
_KEPT: Final = "django_ciam_token_request"
_SECONDS_KEPT: Final = 3_600
LONGEST_ADDRESS: Final = 6_000
"""What servers accept in any case; where no login page has to judge it."""
# With room for a host in front of it.
_LONGEST_PATH: Final = 1_800
_KEY: Final = re.compile(r"[a-z0-9]{16,64}")
# In this process. The first is for each network, the second against those that use many.
_of_network: Final = Allowance(at_once=50, every=5.0)
_in_all: Final = Allowance(at_once=500, every=0.5)


def forget() -> None:
    """Begin anew, as after a fork."""
    for allowance in (_of_network, _in_all):
        allowance.forget()


after_fork(forget)


def path_of(http: HttpRequest, parameters: Form, *, longest: int = _LONGEST_PATH) -> str:
    """Return the path at which this request goes on as a GET.

    Args:
        http: the request.
        parameters: what it was sent with.
        longest: how many characters the path may have; a longer request is kept.
    """
    endpoint = escape_uri_path(http.path)
    path = f"{endpoint}?{urlencode(dict(parameters))}"
    if len(path) <= longest:
        return path
    key = _keep(dict(parameters)) if _may_keep(Caller.of(http)) else None
    # Sessions that are cookies have no short key.
    return path if key is None else f"{endpoint}?{PARAMETER}={key}"


def kept_parameters(key: str) -> Form | None:
    """Return the request that is kept under a key; None if there is none any more."""
    if not _KEY.fullmatch(key):
        return None
    kept: Mapping[str, str] | None = _store(key).get(_KEPT)
    return None if kept is None else Form(kept)


def _may_keep(caller: Caller) -> bool:
    tenant = tenant_key(write_database(Client))
    return _of_network.take((tenant, caller.network)) and _in_all.take(tenant)


def _keep(parameters: Mapping[str, str]) -> str | None:
    store = _store()
    store[_KEPT] = dict(parameters)
    store.set_expiry(_SECONDS_KEPT)
    store.create()
    key = store.session_key or ""
    return key if _KEY.fullmatch(key) else None


def _store(key: str | None = None) -> Any:
    return import_module(settings.SESSION_ENGINE).SessionStore(key)
