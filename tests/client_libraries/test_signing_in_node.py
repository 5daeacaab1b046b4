"""openid-client, oauth4webapi, AppAuth-JS and Auth.js sign a person in by their own code flow."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import requests

from tests.client_libraries.browser import Browser
from tests.client_libraries.expectations import SignedIn, assert_signed_in_and_out, with_pyjwt
from tests.served import TokenService, free_port

pytestmark = pytest.mark.clients

SCOPE = "openid profile"


def run_node(project: Path, *arguments: str, given: dict[str, Any], path: Path | None = None) -> Any:
    """Run a script; it finds the browser of this profile as ``xdg-open``."""
    finished = subprocess.run(
        ["node", *arguments],
        cwd=project,
        env=os.environ | ({} if path is None else {"PATH": f"{path}{os.pathsep}{os.environ['PATH']}"}),
        input=json.dumps(given),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert finished.returncode == 0, finished.stderr
    return json.loads(finished.stdout)


@pytest.mark.parametrize("script", ["sign_in_oauth4webapi.mjs", "sign_in_openid_client.mjs"])
@pytest.mark.parametrize(
    ("application_type", "method"),
    [("web", "client_secret_basic"), ("web", "client_secret_post"), ("spa", "none")],
)
def test_a_node_library_signs_in_and_out(
    service: TokenService,
    node_project: Path,
    profile: Path,
    callback: str,
    script: str,
    application_type: str,
    method: str,
) -> None:
    uris = ("--redirect-uri", callback, "--post-logout-redirect-uri", callback)
    client = service.create_client(application_type, *uris, scope=SCOPE)
    given = client | {
        "issuer": service.base_url,
        "method": method,
        "redirect_uri": callback,
        "scope": SCOPE,
    }

    got = SignedIn(**run_node(node_project, script, given=given, path=profile))

    assert got.signed_out.startswith(callback)
    assert_signed_in_and_out(service, client, got, profile=profile, redirect_uri=callback)


def test_appauth_signs_in_with_a_port_that_it_draws(
    service: TokenService, node_project: Path, profile: Path, callback: str
) -> None:
    # The port of a redirect URI may vary, that of an address for afterwards may not.
    uris = ("--redirect-uri", "http://127.0.0.1/callback", "--post-logout-redirect-uri", callback)
    client = service.create_client("mobile", *uris, scope=SCOPE)
    given = client | {"issuer": service.base_url, "post_logout_redirect_uri": callback, "scope": SCOPE}

    script = ("--import", "./complete_imports.mjs", "sign_in_appauth.mjs")
    got = SignedIn(**run_node(node_project, *script, given=given, path=profile))

    another_port = f"http://127.0.0.1:{free_port()}/callback"
    assert_signed_in_and_out(service, client, got, profile=profile, redirect_uri=another_port)


@pytest.fixture
def authjs(service: TokenService, node_project: Path, callback: str) -> Iterator[tuple[dict[str, str], str]]:
    """An application with Auth.js: its client and its address."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    uris = (
        *("--redirect-uri", f"{address}/auth/callback/site", "--redirect-uri", callback),
        *("--post-logout-redirect-uri", f"{address}/bye"),
    )
    client = service.create_client("web", *uris, scope="openid profile email")
    with subprocess.Popen(
        ["node", "sign_in_authjs.mjs"],
        cwd=node_project,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as application:
        assert application.stdin is not None
        assert application.stdout is not None
        application.stdin.write(json.dumps(client | {"issuer": service.base_url, "port": port}))
        application.stdin.close()
        try:
            assert application.stdout.readline() == "ready\n"
            yield client, address
        finally:
            application.terminate()


def test_authjs_signs_in_and_out(
    service: TokenService, profile: Path, callback: str, authjs: tuple[dict[str, str], str]
) -> None:
    client, address = authjs
    browser = Browser(profile)

    # Its page has a button for each provider.
    inside = f"{address}/hello"
    assert browser.open(f"{address}/auth/signin?{urlencode({'callbackUrl': inside})}") == inside
    browser.open(f"{address}/auth/session")
    session = json.loads(browser.text)
    metadata = requests.get(f"{service.base_url}/.well-known/openid-configuration", timeout=20).json()
    form = {
        "id_token_hint": session["newest"]["id_token"],
        "post_logout_redirect_uri": f"{address}/bye",
        "state": "bye",
    }
    signed_out = browser.open(f"{metadata['end_session_endpoint']}?{urlencode(form)}")

    nonce = with_pyjwt(service, client, session["first"]["id_token"])["nonce"]
    assert re.fullmatch(r"[\w-]{40,}", nonce)
    assert session["first"]["scope"] == "openid profile email"
    got = SignedIn(
        first=session["first"],
        refreshed=session["newest"],
        userinfo=session["userinfo"],
        nonce=nonce,
        signed_out=signed_out,
    )
    assert got.signed_out == f"{address}/bye?state=bye"
    assert_signed_in_and_out(service, client, got, profile=profile, redirect_uri=callback)


def test_node_libraries_get_tokens_for_a_machine(service: TokenService, node_project: Path) -> None:
    client = service.create_client("m2m", scope="profile")

    answers = run_node(node_project, "client_credentials.mjs", given=client | {"issuer": service.base_url})

    for answer in answers:
        assert set(answer) == {"access_token", "scope", "token_type", "expires_in"}
        assert with_pyjwt(service, client, answer["access_token"])["sub"] == client["client_id"]
