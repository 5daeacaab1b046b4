"""The user of a request that a machine sends for itself."""

from __future__ import annotations

import pytest
from django.urls import path

from django_ciam_token.api import issue_tokens
from django_ciam_token.resource_server import MachineUser
from tests.factories import ClientFactory, UserFactory
from tests.resource_server.conftest import Whoami, get

pytestmark = pytest.mark.django_db

urlpatterns = [path("whoami", Whoami.as_view())]


@pytest.mark.parametrize("refresh_tokens_enabled", [True, False])
def test_a_machine_is_a_user_without_a_row(refresh_tokens_enabled):
    machine = ClientFactory(application_type="m2m", refresh_tokens_enabled=refresh_tokens_enabled)

    response = get(token=issue_tokens(client=machine)["access_token"])

    assert response.json() == {"user": machine.client_id, "pk": f"client:{machine.client_id}"}


def test_a_machine_user_is_authenticated_and_has_no_permissions(machine):
    user = MachineUser(client=machine)

    assert user.is_authenticated is True
    assert user.is_active is True
    assert user.is_anonymous is False
    assert (user.is_staff, user.is_superuser) == (False, False)
    assert user.pk == user.id == f"client:{user.client.client_id}"
    assert user.username == user.get_username() == str(user) == machine.client_id
    assert not user.has_perm("auth.view_user")
    assert not user.has_perms([])
    assert not user.has_module_perms("auth")
    with pytest.raises(AttributeError):
        user.client = None


def test_a_site_gives_its_machines_users_of_its_own(settings, machine):
    """Packages that keep a history store the authenticated user as a row; a machine has none."""
    service_account = UserFactory(username="nightly-export")
    settings.CIAM_TOKEN = {
        **settings.CIAM_TOKEN,
        "MACHINE_USER": lambda client: service_account if client == machine else None,
    }

    response = get(token=issue_tokens(client=machine)["access_token"])

    assert response.json() == {"user": "nightly-export", "pk": service_account.pk}
