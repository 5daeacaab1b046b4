"""Simplejwt without its blacklist app stores nothing: a token becomes a session at its first use."""

from __future__ import annotations

import pytest
from django.conf import settings
from django.core.management import CommandError

from django_ciam_token.models import RefreshToken
from tests.factories import UserFactory
from tests.migration.packages import PASSWORD, SimpleJWT, run_import
from tests.migration.test_moving import let_time_pass_here, refused

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(settings.HAS_BLACKLIST, reason="runs with CIAM_WITHOUT_BLACKLIST=1"),
]


def test_a_token_is_recognised_by_its_signature(site):
    package, user = SimpleJWT(), UserFactory(password=PASSWORD)
    registered = package.register()
    token = package.sign_in(site, registered, user)

    first = site.refresh(registered, token).json()["refresh_token"]
    assert site.refresh(registered, token).json()["refresh_token"] == first
    assert site.refresh(registered, first).status == 200

    let_time_pass_here(minutes=1)
    assert refused(site.refresh(registered, token))
    assert RefreshToken.objects.get().revoked_reason == "reuse"


def test_there_is_nothing_to_import():
    SimpleJWT().register()

    with pytest.raises(CommandError, match="simplejwt stores no tokens"):
        run_import(SimpleJWT())
