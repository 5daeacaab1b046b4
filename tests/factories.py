from __future__ import annotations

from datetime import timedelta
from unittest.mock import patch

import factory
from django.contrib.auth import get_user_model
from django.utils import timezone

from django_ciam_token.api import issue_tokens
from django_ciam_token.clients import registration
from django_ciam_token.clients.registration import create_client
from django_ciam_token.models import Client, RefreshToken


class UserFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = get_user_model()
        skip_postgeneration_save = True

    username = factory.Sequence(lambda n: f"user-{n}")
    password = factory.django.Password("correct horse")


class ClientFactory(factory.django.DjangoModelFactory):
    """A client of the given type; `client.plain_secret` is the secret of a confidential client.

    The secret counts as used already, so that tests that count queries see those of an ordinary request. The
    creation is not reported, so that tests that count events see only those of what they do.
    """

    class Meta:
        model = Client

    client_id = factory.Sequence(lambda n: f"client-{n}")
    name = factory.LazyAttribute(lambda client: client.client_id.title())
    application_type = "web"
    scope = "openid profile email"

    @classmethod
    def _create(cls, model_class: type[Client], *args: object, **fields: object) -> Client:
        with patch.object(registration, "report_creation"):
            client, client.plain_secret = create_client(**fields)
        client.secrets.update(last_used_at=timezone.now())
        return client


def unsaved_session(client, user=None, **fields):
    """A live session, whose token nobody has."""
    now = timezone.now()
    defaults = {
        "scope": "openid",
        "issued_at": now,
        "expires_at": now + timedelta(hours=1),
        "secret_digest": b"",
        "nonce": bytes(16),
    }
    return RefreshToken(client=client, user=user, **{**defaults, **fields})


def make_session(client, user=None, **fields):
    session = unsaved_session(client, user, **fields)
    session.save()
    return session


def make_sessions(count, client, user=None, **fields):
    RefreshToken.objects.bulk_create(
        [unsaved_session(client, user, **fields) for _ in range(count)], batch_size=2_000
    )


def sessions(number, *, client=None, **fields):
    """Begin sessions of a client; fields replace the values that issuing their tokens set."""
    client = client or ClientFactory()
    for _ in range(number):
        issue_tokens(client=client, user=UserFactory())
    if fields:
        RefreshToken.objects.filter(client=client).update(**fields)
    return client


def live_ids():
    return set(RefreshToken.objects.filter(revoked_at=None).values_list("pk", flat=True))
