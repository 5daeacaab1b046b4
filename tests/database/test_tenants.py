from __future__ import annotations

from django.db import connections
from django.test import override_settings

from django_ciam_token.database.tenants import tenant_key


def test_a_database_without_tenants_is_one_by_its_alias():
    assert tenant_key("default") == tenant_key("default")
    assert hash(tenant_key("default")) is not None


def test_the_schema_that_django_tenants_sets_tells_them_apart(monkeypatch):
    nobodys = tenant_key("default")
    monkeypatch.setattr(connections["default"], "schema_name", "blue", raising=False)
    blue = tenant_key("default")
    monkeypatch.setattr(connections["default"], "schema_name", "green", raising=False)

    assert len({nobodys, blue, tenant_key("default")}) == 3


def test_a_site_may_say_what_tells_them_apart():
    keys = set()
    for customer in (1, 2, 2):
        with override_settings(CIAM_TOKEN={"CACHE_SCOPE": lambda customer=customer: customer}):
            keys.add(tenant_key("default"))

    assert len(keys) == 2
