from __future__ import annotations

from django.db import connection
from django_tenants.middleware.main import TenantMainMiddleware
from django_tenants.postgresql_backend.base import FakeTenant


class TenantOfHost(TenantMainMiddleware):
    """Finds the tenant by the name of the host alone, without a query."""

    def process_request(self, request):
        request.tenant = FakeTenant(schema_name=self.hostname_from_request(request).split(".")[0])
        connection.set_tenant(request.tenant)
