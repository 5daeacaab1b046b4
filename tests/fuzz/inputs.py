"""Bad input: from random noise to requests that are correct except for one thing."""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import quote_plus, urlencode

from hypothesis import strategies as st

from tests.fuzz.conftest import Target

PATHS = ("/oauth2/token", "/oauth2/revoke", "/oauth2/introspect")
FORM = "application/x-www-form-urlencoded"

# Anything that a header may contain in WSGI: one character for each byte. Servers refuse the three that
# are left out.
_header_text = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\0"), max_size=60)
noise = st.one_of(st.text(max_size=40), st.binary(max_size=40).map(lambda raw: raw.decode("latin-1")))


@st.composite
def broken(draw: st.DrawFn, token: str) -> str:
    """Return a genuine token that was changed in some way."""
    at = draw(st.integers(0, len(token) - 1))
    match draw(st.integers(0, 5)):
        case 0:
            return token[:at]
        case 1:
            return token[:at] + draw(st.characters()) + token[at + 1 :]
        case 2:
            return token[:at] + draw(st.sampled_from("AZaz09-_.=+/ \x00")) + token[at:]
        case 3:
            return token[at:] + token[:at]
        case 4:
            return token.swapcase()
        case _:
            return token + draw(noise)


def tokens(target: Target) -> st.SearchStrategy[str]:
    """Return invalid tokens: noise, well-formed tokens with a wrong MAC, and broken genuine ones."""
    raw = st.binary(min_size=68, max_size=68)
    forged = raw.map(lambda raw: "ciam_rt1_" + base64.urlsafe_b64encode(raw).rstrip(b"=").decode())
    jwts = st.lists(st.binary(max_size=60), min_size=1, max_size=5).map(
        lambda parts: ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)
    )
    genuine = st.sampled_from(sorted(target.secrets)).flatmap(broken)
    return st.one_of(genuine, forged, jwts, noise).filter(lambda token: token not in target.secrets)


@st.composite
def requests(draw: st.DrawFn, target: Target) -> dict[str, Any]:
    """Return the arguments of `tests.fuzz.wsgi.call`."""
    client = draw(st.sampled_from(target.clients))
    secret = client.plain_secret or draw(noise)
    token = draw(tokens(target))
    fields: list[tuple[str, str]] = [("token", token), ("refresh_token", token)]
    fields.append(("grant_type", draw(st.one_of(st.just("refresh_token"), noise))))
    headers = {"Content-Type": FORM, "User-Agent": draw(_header_text)}
    match draw(st.integers(0, 3)):
        case 0:
            fields += [("client_id", client.client_id), ("client_secret", secret)]
        case 1:
            credentials = f"{quote_plus(client.client_id)}:{quote_plus(secret, errors='replace')}"
            headers["Authorization"] = "Basic " + base64.b64encode(credentials.encode()).decode()
        case 2:
            fields += [("client_id", draw(noise)), ("client_secret", draw(noise))]
        case _:
            scheme = draw(st.sampled_from(["Basic ", "basic", "Bearer ", "Digest ", ""]))
            raw = base64.b64encode(draw(st.binary(max_size=60))).decode()
            headers["Authorization"] = scheme + draw(st.one_of(st.just(raw), _header_text))
    known = ("scope", "token_type_hint", "client_assertion", "resource", "grant_type", "client_id", "token")
    fields += draw(st.lists(st.tuples(st.one_of(st.sampled_from(known), noise), noise), max_size=3))
    body = urlencode(draw(st.permutations(fields)), errors="surrogatepass").encode()
    if draw(st.integers(0, 3)) == 0:
        body = draw(st.one_of(st.binary(max_size=200), st.just(body[: len(body) // 2] + b"%"), st.just(b"")))
    if draw(st.integers(0, 4)) == 0:
        oddities = [
            f"{FORM}; charset=latin-1",
            f"{FORM}; charset=none",
            "application/json",
            "multipart/form-data",
            "",
        ]
        headers["Content-Type"] = draw(st.one_of(st.sampled_from(oddities), _header_text))
    if draw(st.integers(0, 9)) == 0:
        names = (
            "Content-Length",
            "Content-Encoding",
            "Transfer-Encoding",
            "Origin",
            "X-Forwarded-For",
            "Accept",
        )
        headers[draw(st.sampled_from(names))] = draw(
            st.one_of(_header_text, st.sampled_from(["-1", "1e9", "chunked"]))
        )
    method = draw(st.sampled_from(["POST"] * 8 + ["GET", "PUT", "OPTIONS", "HEAD"]))
    query = draw(st.one_of(st.just(""), st.just("token=x"), _header_text))
    return {
        "method": method,
        "path": draw(st.sampled_from(PATHS)),
        "query": query,
        "headers": headers,
        "body": body,
    }
