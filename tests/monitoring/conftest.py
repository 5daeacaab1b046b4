from __future__ import annotations

from django_ciam_token.api import issue_tokens
from django_ciam_token.models import RefreshToken
from tests.factories import ClientFactory, UserFactory


def sessions(number, *, client=None, **fields):
    """Create sessions of a client; fields replace the values that issuing them set."""
    client = client or ClientFactory()
    for _ in range(number):
        issue_tokens(client=client, user=UserFactory())
    RefreshToken.objects.filter(client=client).update(**fields) if fields else None
    return client
