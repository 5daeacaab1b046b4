import importlib.util
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from django.conf import LazySettings
from django.core.handlers.wsgi import WSGIHandler

from django_ciam_token.api import issue_tokens
from django_ciam_token.models import Client, ClientSecret, RefreshToken, RevokedAccessToken
from tests.factories import ClientFactory, UserFactory

# Only `tox -e fuzz` installs these libraries; there it is an error if one is missing.
_wanted = os.environ.get("CIAM_FUZZ_INPUTS")
_missing = [name for name in ("atheris", "hypothesis", "schemathesis") if not importlib.util.find_spec(name)]
if _wanted and _missing:
    raise pytest.UsageError(f"CIAM_FUZZ_INPUTS is set, but there is no {', '.join(_missing)}")
collect_ignore_glob = [] if _wanted else ["test_*.py"]


@dataclass(frozen=True)
class Target:
    """A service with clients and live sessions, which no input from outside may change."""

    application: WSGIHandler
    clients: list[Client]
    tokens: list[dict[str, Any]]

    @property
    def secrets(self) -> frozenset[str]:
        """The valid tokens, which are not bad input."""
        return frozenset(
            str(answer[name])
            for answer in self.tokens
            for name in ("refresh_token", "access_token", "id_token")
        )

    def rows(self) -> str:
        """Return the rows that must not change."""
        models = (Client, ClientSecret, RefreshToken, RevokedAccessToken)
        return json.dumps(
            [list(model.objects.order_by("pk").values_list()) for model in models], default=repr
        )


@pytest.fixture
def target(transactional_db: None, settings: LazySettings) -> Iterator[Target]:
    """Serve the tests' site, and check afterwards that nothing has changed."""
    # Otherwise most of the inputs would only be answered 429.
    settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, "FAILURES_PER_MINUTE": None}
    clients = [ClientFactory(application_type=kind) for kind in ("web", "spa", "mobile", "m2m")]
    user = UserFactory()
    tokens = [
        issue_tokens(client=client, user=None if client.application_type == "m2m" else user)
        for client in clients
    ]
    target = Target(WSGIHandler(), clients, tokens)
    before = target.rows()
    yield target
    assert target.rows() == before
