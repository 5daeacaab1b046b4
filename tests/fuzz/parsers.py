"""Coverage-guided fuzzing of the code that is the first to read bytes from outside.

Each input goes to the parser of refresh tokens, of authorization codes, of client credentials or of forms. If
a parser raises something that is not an error answer, the run ends with an error.
"""

from __future__ import annotations

import base64
import sys

import atheris

with atheris.instrument_imports(include=["django_ciam_token"]):
    from django_ciam_token.crypto import authorization_code_string, refresh_token_string

import django

with atheris.instrument_imports(include=["django_ciam_token"]):
    django.setup()
    from django_ciam_token.clients import methods
    from django_ciam_token.errors import OAuthError
    from django_ciam_token.views import form

KEYS = (
    refresh_token_string.TokenKey(b"m" * 32, b"d" * 32),
    refresh_token_string.TokenKey(b"n" * 32, b"e" * 32),
)

CODE_KEYS = (authorization_code_string.CodeKey(b"m" * 32), authorization_code_string.CodeKey(b"n" * 32))


def read_token(data: bytes) -> None:
    """Read noise, and noise that looks like a token: nothing is genuine without the key."""
    dressed = (
        refresh_token_string.PREFIX
        + base64.urlsafe_b64encode(data[:68].ljust(68, b"\0")).rstrip(b"=").decode()
    )
    for text in (
        data.decode("utf-8", "surrogateescape"),
        refresh_token_string.PREFIX + data.decode("latin-1"),
        dressed,
    ):
        try:
            refresh_token_string.authenticate(text, KEYS)
        except refresh_token_string.NotGenuine:
            continue
        raise AssertionError("a forged token was accepted as genuine")


def read_code(data: bytes) -> None:
    """The same for codes, of any length: what the MAC covers ends with a nonce."""
    dressed = (
        authorization_code_string.PREFIX
        + base64.urlsafe_b64encode(data.ljust(112, b"\0")).rstrip(b"=").decode()
    )
    for text in (
        data.decode("utf-8", "surrogateescape"),
        authorization_code_string.PREFIX + data.decode("latin-1"),
        dressed,
    ):
        try:
            authorization_code_string.authenticate(text, CODE_KEYS)
        except refresh_token_string.NotGenuine:
            continue
        raise AssertionError("a forged code was accepted as genuine")


def read_credentials(data: bytes) -> None:
    """Read noise as an Authorization header, as the Base64 in it, and with a form."""
    noise = data.decode("latin-1")
    encoded = base64.b64encode(data).decode()
    for authorization in (noise, f"Basic {noise}", f"bAsIc {encoded}"):
        for parameters in ({}, {"client_id": noise}, {"client_id": noise, "client_secret": noise}):
            try:
                credentials = methods.read_credentials(authorization, parameters)
            except OAuthError:
                continue
            assert credentials.client_id is not None


def read_form(data: bytes) -> None:
    """Read noise as the body of a request."""
    try:
        parameters = form.parse_form(data)
    except OAuthError:
        return
    assert all(dict(parameters).values())


READERS = (read_token, read_code, read_credentials, read_form)


def read(data: bytes) -> None:
    """Choose a parser by the first byte."""
    if data:
        READERS[data[0] % len(READERS)](data[1:])


if __name__ == "__main__":
    atheris.Setup(sys.argv, read)
    atheris.Fuzz()
