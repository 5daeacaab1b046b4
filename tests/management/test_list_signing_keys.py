from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import call_command

from django_ciam_token.models import SigningKey

pytestmark = pytest.mark.django_db


def test_list_signing_keys_shows_the_dates_of_each_key(run, run_json):
    run("rotate_signing_key", "--algorithm", "ES256")
    old, new = SigningKey.objects.order_by("pk")

    listed = run_json("list_signing_keys")

    assert listed == {
        "keys": [
            {
                "kid": new.kid,
                "alg": "ES256",
                "state": "published",
                "published_at": new.created_at.isoformat(),
                "active_at": new.active_at.isoformat(),
                "retired_at": None,
                "removed_at": None,
            },
            {
                "kid": old.kid,
                "alg": "RS256",
                "state": "active",
                "published_at": old.created_at.isoformat(),
                "active_at": old.active_at.isoformat(),
                "retired_at": old.retired_at.isoformat(),
                "removed_at": old.removed_at.isoformat(),
            },
        ]
    }
    text = run("list_signing_keys")
    assert f"{new.kid}  ES256  published\n" in text
    assert f"{old.kid}  RS256  active\n" in text


def test_list_signing_keys_says_when_none_is_active():
    SigningKey.objects.all().delete()
    errors = StringIO()

    call_command("list_signing_keys", stdout=StringIO(), stderr=errors)

    assert "rotate_signing_key --now" in errors.getvalue()
