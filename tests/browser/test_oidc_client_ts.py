"""oidc-client-ts in a browser: the application has one origin, the example project another one."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.served import TokenService, serve

pytestmark = pytest.mark.browser

FILES = Path(__file__).parent / "application"
LIBRARY = "node_modules/oidc-client-ts/dist/browser/oidc-client-ts.min.js"
TYPES = {".js": "text/javascript", ".json": "application/json", ".html": "text/html; charset=utf-8"}
# 127.0.0.1 is the same site as the service, on another port. localhost is another site, which gets no
# cookies of the service in a hidden frame: as most browsers have it for all that is called third-party.
HOSTS = ("127.0.0.1", "localhost")


@dataclass(frozen=True)
class Application:
    """A single-page application and its client."""

    service: TokenService
    client_id: str
    port: int

    def origin(self, host: str) -> str:
        return f"http://{host}:{self.port}"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the library and return its file for browsers."""
    folder = tmp_path_factory.mktemp("application")
    shutil.copy(FILES / "package.json", folder)
    npm_install = ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock"]
    finished = subprocess.run(
        npm_install, cwd=folder, capture_output=True, text=True, check=False, timeout=300
    )
    assert finished.returncode == 0, finished.stderr
    return folder / LIBRARY


@pytest.fixture(scope="module")
def application(tmp_path_factory: pytest.TempPathFactory, library: Path) -> Iterator[Application]:
    """Serve both, each on a port of its own."""
    pages = {
        "/oidc-client-ts.js": library.read_bytes(),
        "/application.js": (FILES / "application.js").read_bytes(),
    }
    with (
        serve("gunicorn", tmp_path_factory.mktemp("service")) as service,
        serving(pages, otherwise=(FILES / "index.html").read_bytes()) as port,
    ):
        origins = [f"http://{host}:{port}" for host in HOSTS]
        options = [
            argument
            for origin in origins
            for argument in (
                *("--allowed-origin", origin),
                *("--redirect-uri", f"{origin}/callback"),
                *("--redirect-uri", f"{origin}/silent"),
                *("--post-logout-redirect-uri", f"{origin}/signed-out"),
            )
        ]
        client_id = service.create_client("spa", *options)["client_id"]
        pages["/config.json"] = json.dumps({"issuer": service.base_url, "client_id": client_id}).encode()
        yield Application(service, client_id, port)


@contextmanager
def serving(pages: dict[str, bytes], *, otherwise: bytes) -> Iterator[int]:
    """Serve these pages from memory; yield the port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = urlsplit(self.path).path
            body = pages.get(path, otherwise)
            self.send_response(200)
            self.send_header("Content-Type", TYPES.get(Path(path).suffix, TYPES[".html"]))
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name of the base class
            """Write nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def open_tab(chromium: Any) -> Iterator[Callable[[str], Any]]:
    """Open tabs of one window; an error that a script did not handle fails the test."""
    context = chromium.new_context(locale="en-GB")
    errors: list[str] = []
    context.on("weberror", lambda error: errors.append(str(error.error)))

    def open_tab(address: str) -> Any:
        tab = context.new_page()
        tab.set_default_timeout(20_000)
        tab.goto(address)
        tab.evaluate("begun")
        return tab

    yield open_tab
    context.close()
    assert errors == []


def sign_in(tab: Any, application: Application) -> dict[str, Any]:
    """Sign in with a redirect through the login page, if it asks; return what the library knows then."""
    tab.evaluate("() => { manager.signinRedirect() }")
    tab.wait_for_url(re.compile(r"/(accounts/login/|callback)\?"))
    if "/accounts/login/" in tab.url:
        tab.fill("#id_username", application.service.username)
        tab.fill("#id_password", application.service.password)
        tab.click("[type=submit]")
        tab.wait_for_url("**/callback?**")
    tab.evaluate("begun")
    return user_of(tab)


def user_of(tab: Any) -> Any:
    return tab.evaluate("async () => { const user = await manager.getUser(); return user && {...user} }")


def renew(tab: Any, *, in_frame: bool) -> dict[str, Any]:
    """Renew silently; return what the library knows then, or its error."""
    script = """async (forceIframeAuth) => {
        try { return {...await manager.signinSilent({ forceIframeAuth })} }
        catch (error) { return { error: error.error || String(error) } }
    }"""
    renewed: dict[str, Any] = tab.evaluate(script, in_frame)
    return renewed


@pytest.mark.parametrize("host", HOSTS)
def test_signing_in_renewing_and_signing_out(application, open_tab, host):
    origin = application.origin(host)
    tab = open_tab(f"{origin}/")
    first = sign_in(tab, application)
    assert first["profile"]["preferred_username"] == application.service.username
    assert first["profile"]["iss"] == application.service.base_url
    assert first["scope"] == "openid profile"

    by_token = renew(tab, in_frame=False)
    assert by_token["refresh_token"] != first["refresh_token"]
    assert by_token["profile"]["sid"] == first["profile"]["sid"]

    in_frame = renew(tab, in_frame=True)
    if host == "127.0.0.1":
        # A login of its own for the application, by the same login of the person.
        assert in_frame["profile"]["sid"] != first["profile"]["sid"]
    else:
        assert in_frame == {"error": "login_required"}
    last = renew(tab, in_frame=False)
    assert "error" not in last

    tab.evaluate("() => { manager.signoutRedirect() }")
    tab.wait_for_url(f"{origin}/signed-out")
    tab.evaluate("begun")
    assert user_of(tab) is None
    assert renew(tab, in_frame=True) == {"error": "login_required"}
    refused = tab.evaluate(
        """async ([address, form]) => {
            const answer = await fetch(address, { method: "POST", body: new URLSearchParams(form) })
            return [answer.status, await answer.json()]
        }""",
        [
            application.service.token_endpoint,
            {
                "grant_type": "refresh_token",
                "client_id": application.client_id,
                "refresh_token": last["refresh_token"],
            },
        ],
    )
    assert refused == [400, {"error": "invalid_grant"}]


def test_two_tabs_renew_at_once_and_both_stay_signed_in(application, open_tab):
    origin = application.origin("127.0.0.1")
    tabs = [open_tab(f"{origin}/"), open_tab(f"{origin}/")]
    first = sign_in(tabs[0], application)
    # The other tab needs no password, and has a session of its own then.
    assert sign_in(tabs[1], application)["profile"]["sid"] != first["profile"]["sid"]

    held: list[Any] = []

    def let_both_go(route: Any) -> None:
        held.append(route)
        if len(held) == len(tabs):
            while held:
                held.pop().continue_()

    tabs[0].context.route(application.service.token_endpoint, let_both_go)
    for _ in range(5):
        for tab in tabs:
            tab.evaluate("() => { window.renewal = manager.signinSilent() }")
        one, other = (tab.evaluate("async () => ({...await renewal})") for tab in tabs)
        assert one["refresh_token"] == other["refresh_token"]
    tabs[0].context.unroute(application.service.token_endpoint)

    frames = [renew(tab, in_frame=True) for tab in tabs]
    assert all("error" not in frame for frame in frames)
    tabs[0].evaluate("() => { manager.signoutRedirect() }")
    tabs[0].wait_for_url(f"{origin}/signed-out")
    tabs[0].evaluate("begun")
    assert user_of(tabs[1]) is None


def page_as_documented(service: TokenService, origin: str, client_id: str, **more: str) -> bytes:
    """The code of docs/how-to/signing-in.md, with addresses of this test, and with further settings."""
    text = (Path(__file__).parents[2] / "docs" / "how-to" / "signing-in.md").read_text()
    [code] = re.findall(r"```js\n(.*?)```", text, re.DOTALL)
    code = code.replace("https://shop.example.com", origin).replace(
        "https://id.example.com", service.base_url
    )
    settings = "".join(f"{name}: {json.dumps(value)}, " for name, value in more.items())
    code = code.replace('client_id: "shop",', f"client_id: {json.dumps(client_id)}, {settings}")
    script = (
        f"const {{ UserManager }} = oidc;\n{code}\nObject.assign(window, {{ users, user, begun: true }});"
    )
    return (
        f'<!DOCTYPE html><script src="/oidc-client-ts.js"></script><script type="module">{script}</script>'
    ).encode()


def test_the_code_of_the_documentation_signs_in_and_out_and_ends_with_a_refusal(
    tmp_path_factory, library, chromium
):
    pages = {"/oidc-client-ts.js": library.read_bytes()}
    pages["/"] = b""
    with (
        serve("gunicorn", tmp_path_factory.mktemp("documented")) as service,
        serving(pages, otherwise=b"") as port,
    ):
        origin = f"http://127.0.0.1:{port}"
        uris = ("--redirect-uri", f"{origin}/", "--post-logout-redirect-uri", f"{origin}/")
        client_id = service.create_client("spa", *uris, "--allowed-origin", origin)["client_id"]
        pages["/"] = page_as_documented(service, origin, client_id)
        tab = chromium.new_context().new_page()
        tab.goto(f"{origin}/")
        tab.wait_for_url("**/accounts/login/**")
        tab.fill("#id_username", service.username)
        tab.fill("#id_password", service.password)
        tab.click("[type=submit]")

        tab.wait_for_function("() => window.begun")
        assert tab.url == f"{origin}/"
        assert tab.evaluate("user.profile.aud") == client_id

        # A refusal is shown once. It must not begin again: that would go on for ever.
        tab.evaluate("sessionStorage.clear()")
        pages["/"] = page_as_documented(service, origin, client_id, scope="openid not-allowed")
        arrivals, errors = [], []
        tab.on("framenavigated", lambda frame: arrivals.append(frame.url))
        tab.on("pageerror", lambda error: errors.append(str(error)))
        tab.goto(f"{origin}/")
        tab.wait_for_url("**error=invalid_scope**")
        tab.wait_for_timeout(1_000)
        assert (len(arrivals), len(errors)) == (2, 1)

        pages["/"] = page_as_documented(service, origin, client_id)
        tab.goto(f"{origin}/")
        tab.wait_for_function("() => window.begun")
        tab.evaluate("() => { users.signoutRedirect() }")
        # Signed out, and so asked to sign in again.
        tab.wait_for_url("**/accounts/login/**")
        tab.context.close()
