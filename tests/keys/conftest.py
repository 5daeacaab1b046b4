from __future__ import annotations

from datetime import timedelta

import pytest

from django_ciam_token.keys import key_set, signing_keys
from django_ciam_token.models import SigningKey

LEAD = timedelta(hours=1)
# A process that has not read the new key yet signs with the old one; and clocks may be wrong.
MARGIN = timedelta(minutes=1) + timedelta(minutes=5)
# The longest token lifetime of a site with the default settings, and the margin.
LINGER = timedelta(minutes=30) + MARGIN
MOMENT = timedelta(microseconds=1)


@pytest.fixture
def first_key(db):
    """The key that migrate made."""
    return SigningKey.objects.get()


@pytest.fixture
def used_key(first_key):
    """The key that migrate made, on a site that is in use."""
    SigningKey.objects.update(is_provisional=False)
    return SigningKey.objects.get()


def rotate(**how):
    return signing_keys.rotate(**{"algorithm": "EdDSA", **how})


def published(now):
    return [jwk["kid"] for jwk in key_set.current().jwk_set(now)["keys"]]


def signs(now):
    return key_set.current().signing_pair(now).kid


def logged(caplog, event):
    return [record for record in caplog.records if getattr(record, "event", None) == event]
