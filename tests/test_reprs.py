"""An error tracker shows the repr of every variable: none of the package's own has a secret in it."""

from __future__ import annotations

import importlib
import pkgutil
import re
from dataclasses import fields, is_dataclass

import django_ciam_token

SECRET = re.compile(
    "(secret|token|nonce|password|private_key|mac_key|derivation_key|challenge|auth_hash|digest)$"
)
IN_CLEAR = {"str", "bytes", "Any", "PrivateKeyTypes"}
# What these import may not be installed, or runs only once.
LEFT_OUT = re.compile(r"\.(integrations|migrations)\.")


def secret_fields():
    """Yield each field of a dataclass of the package that may hold a secret in clear."""
    for found in pkgutil.walk_packages(django_ciam_token.__path__, "django_ciam_token."):
        if LEFT_OUT.search(found.name):
            continue
        for made in vars(importlib.import_module(found.name)).values():
            if isinstance(made, type) and is_dataclass(made) and made.__module__ == found.name:
                for field in fields(made):
                    kind = str(field.type).partition(" |")[0]
                    if SECRET.search(field.name) and kind in IN_CLEAR:
                        yield made, field


def test_no_repr_of_a_dataclass_shows_a_secret():
    found = list(secret_fields())

    assert {made.__name__ for made, _ in found} >= {"SigningKeyPair", "GenuineToken", "SignedTokens"}
    assert [f"{made.__qualname__}.{field.name}" for made, field in found if field.repr] == []
