"""What two tenants of one process must not see of each other; run as a program, it prints what holds."""

from __future__ import annotations

import sys
import traceback
from urllib.parse import urlencode

import django

django.setup()

import jwt  # noqa: E402
from asgiref.sync import async_to_sync  # noqa: E402
from django.contrib.auth import get_user_model  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connection  # noqa: E402
from django.test import AsyncClient  # noqa: E402
from django.test import Client as Browser  # noqa: E402
from django_tenants.utils import schema_context  # noqa: E402

from django_ciam_token.api import create_client, issue_tokens  # noqa: E402
from django_ciam_token.models import RefreshCount, RefreshToken, SecurityEvent  # noqa: E402
from tests.hosts.tenants.models import Customer  # noqa: E402

TENANTS = ("blue", "green")
FORM = "application/x-www-form-urlencoded"
SCENARIOS = []


class Tenant:
    """A customer whose application has the same client_id as everybody's."""

    def __init__(self, schema: str) -> None:
        self.schema = schema
        self.origin = f"https://{schema}.example.com"
        Customer(schema_name=schema).save(verbosity=0)
        with schema_context(schema):
            self.client, _ = create_client(
                name="Portal", client_id="portal", application_type="spa", allowed_origins=self.origin
            )
            self.user = get_user_model().objects.create_user("somebody")

    def begin(self) -> str:
        with schema_context(self.schema):
            return issue_tokens(client=self.client, user=self.user)["refresh_token"]

    def refresh(self, token: str, **headers: str):
        form = {"grant_type": "refresh_token", "client_id": "portal", "refresh_token": token}
        return Browser(raise_request_exception=False).post(
            "/oauth2/token", urlencode(form), FORM, HTTP_HOST=f"{self.schema}.localhost", **headers
        )

    def kids(self) -> list[str]:
        answer = Browser().get("/oauth2/jwks", HTTP_HOST=f"{self.schema}.localhost").json()
        return [key["kid"] for key in answer["keys"]]

    def preflight(self, origin: str):
        return Browser().options("/oauth2/token", HTTP_HOST=f"{self.schema}.localhost", **asking(origin))


def asking(origin: str) -> dict[str, str]:
    return {"HTTP_ORIGIN": origin, "HTTP_ACCESS_CONTROL_REQUEST_METHOD": "POST"}


def scenario(function):
    SCENARIOS.append(function)
    return function


@scenario
def each_refresh_is_made_in_the_schema_of_its_tenant(blue: Tenant, green: Tenant) -> None:
    tokens = {tenant: tenant.begin() for tenant in (blue, green)}
    for _ in range(6):
        for tenant in (blue, green):
            answer = tenant.refresh(tokens[tenant])
            assert answer.status_code == 200, answer.content
            tokens[tenant] = answer.json()["refresh_token"]
    for tenant in (blue, green):
        with schema_context(tenant.schema):
            assert [session.generation for session in RefreshToken.objects.all()] == [6]


@scenario
def a_token_is_not_known_to_another_tenant_and_goes_on_at_its_own(blue: Tenant, green: Tenant) -> None:
    token = blue.begin()

    assert green.refresh(token).status_code == 400
    assert blue.refresh(token).status_code == 200


@scenario
def each_tenant_signs_with_its_own_key_and_publishes_no_other(blue: Tenant, green: Tenant) -> None:
    signed = {}
    for tenant in (blue, green, blue):
        token = tenant.refresh(tenant.begin()).json()["access_token"]
        signed[tenant] = jwt.get_unverified_header(token)["kid"]

    assert signed[blue] != signed[green]
    assert blue.kids() == [signed[blue]]
    assert green.kids() == [signed[green]]


@scenario
def origins_are_allowed_at_their_own_tenant_only(blue: Tenant, green: Tenant) -> None:
    for tenant, other in ((blue, green), (green, blue), (blue, green)):
        assert tenant.preflight(tenant.origin)["Access-Control-Allow-Origin"] == tenant.origin
        assert "Access-Control-Allow-Origin" not in tenant.preflight(other.origin)


@scenario
def on_an_event_loop_no_origin_is_allowed(blue: Tenant, green: Tenant) -> None:
    connection.set_schema(blue.schema)
    answer = async_to_sync(AsyncClient().options)(
        "/oauth2/token",
        headers={"Host": "green.localhost", "Origin": blue.origin, "Access-Control-Request-Method": "POST"},
    )

    assert "Access-Control-Allow-Origin" not in answer


@scenario
def refreshes_and_events_are_written_at_their_own_tenant(blue: Tenant, green: Tenant) -> None:
    def counts() -> dict[str, tuple[int, int]]:
        seen = {}
        for tenant in (blue, green):
            with schema_context(tenant.schema):
                counted = sum(RefreshCount.objects.values_list("count", flat=True))
                seen[tenant.schema] = counted, SecurityEvent.objects.filter(event="issued").count()
        return seen

    # Each has had refreshes before. A minute has passed at neither.
    before = counts()
    assert before["blue"][0] >= 1
    assert before["green"][0] >= 1
    blue.begin()
    assert counts() == {"blue": (before["blue"][0], before["blue"][1] + 1), "green": before["green"]}


def main() -> None:
    call_command("migrate_schemas", shared=True, verbosity=0)
    tenants = [Tenant(schema) for schema in TENANTS]
    for function in SCENARIOS:
        try:
            function(*tenants)
        except Exception:  # noqa: BLE001 - each is reported
            print("failed", function.__name__)
            traceback.print_exc()
        else:
            print("passed", function.__name__)


if __name__ == "__main__":
    main()
    sys.stdout.flush()
