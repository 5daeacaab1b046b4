from __future__ import annotations

import pytest

from django_ciam_token.models import RefreshToken


@pytest.fixture
def session(first_tokens):
    return RefreshToken.objects.get()
