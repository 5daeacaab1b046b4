"""The answer's way back to the application: a redirect, or a form that sends itself.

Neither is Django's own: that one refuses the schemes of mobile applications, and rewrites addresses.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.safestring import SafeString

from django_ciam_token.authorization.request import Destination
from django_ciam_token.concealed import Form
from django_ciam_token.conf import ciam_settings

_SCRIPT: Final = 'document.getElementById("ciam-form").submit()'
_SCRIPT_HASH: Final = base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode("ascii")


def send_back(http: HttpRequest, destination: Destination, parameters: Form) -> HttpResponse:
    """Answer an authorization request at its redirect URI, with ``state`` and ``iss`` (RFC 9207 §2)."""
    state = Form() if destination.state is None else Form({"state": destination.state})
    answer = Form({**dict(parameters), **dict(state), "iss": ciam_settings.ISSUER})
    if destination.response_mode == "form_post":
        return _form_post(http, destination, answer)
    return redirect(http, with_parameters(destination.redirect_uri, dict(answer)))


def with_parameters(uri: str, parameters: Mapping[str, str]) -> str:
    """Return a registered address with parameters added; its own query is kept (RFC 6749 §3.1.2)."""
    if not parameters:
        return uri
    separator = "?" if "?" not in uri else "" if uri.endswith(("?", "&")) else "&"
    return f"{uri}{separator}{urlencode(parameters)}"


def redirect(http: HttpRequest, location: str) -> HttpResponse:
    """Send the browser on with a GET; never with a 307, which would repeat a form (RFC 9700 §4.12)."""
    status = HTTPStatus.SEE_OTHER if http.method == "POST" else HTTPStatus.FOUND
    response = HttpResponse(status=status)
    response["Location"] = location
    return response


def _form_post(http: HttpRequest, destination: Destination, answer: Form) -> HttpResponse:
    """Return a page whose form sends itself (OAuth 2.0 Form Post Response Mode §2)."""
    context = {
        "action": destination.redirect_uri,
        # Concealed: context processors and templates of the site may fail, and the code is still good.
        "parameters": list(answer.items()),
        "client": destination.client,
        "script": SafeString(_SCRIPT),
    }
    response = render(http, "django_ciam_token/form_post.html", context)
    # No form-action: browsers apply it to where the application redirects to as well.
    response["Content-Security-Policy"] = (
        f"default-src 'none'; script-src 'sha256-{_SCRIPT_HASH}'; style-src 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    )
    return response
