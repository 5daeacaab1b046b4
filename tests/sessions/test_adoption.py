"""A client that is deleted while its tokens are taken over from another package."""

from __future__ import annotations

from unittest.mock import patch

import pytest
from django.utils import timezone

from django_ciam_token.models import Client, ForeignToken
from django_ciam_token.sessions import adoption
from django_ciam_token.sessions.adoption import adopt
from tests.factories import ClientFactory, UserFactory
from tests.other_package import FORMAT, live

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("other_tokens_accepted")]


def deleting(client):
    """Delete a client just before the first session is made, when it was read already."""
    make = adoption._session

    def late(*arguments, **options):
        Client.objects.filter(pk=client.pk).delete()
        return make(*arguments, **options)

    return patch.object(adoption, "_session", late)


def test_the_tokens_of_other_clients_are_still_imported():
    going, staying = ClientFactory(), ClientFactory()
    tokens = [live(client, UserFactory())[1] for client in (going, staying)]

    with deleting(going):
        done = adopt(
            tokens,
            name=FORMAT,
            clients={client.client_id: client for client in (going, staying)},
            now=timezone.now(),
        )

    assert [session.client_id for session in done.made] == [staying.pk]
    assert dict(done.left_out) == {"its client is not here": 1}
    assert ForeignToken.objects.get().session_id == done.made[0].pk


def test_a_first_use_is_refused_for_good_and_not_for_the_moment(web_client, user, refresh):
    text, _ = live(web_client, user)

    with deleting(web_client):
        response = refresh(web_client, text)

    assert (response.status_code, response.json()) == (400, {"error": "invalid_grant"})
    assert not ForeignToken.objects.exists()
