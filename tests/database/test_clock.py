from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.db.models import DateTimeField, Value
from django.utils import timezone

from django_ciam_token.database.clock import DatabaseNow
from django_ciam_token.models import Client
from tests.factories import ClientFactory

pytestmark = pytest.mark.django_db(transaction=True)


def test_the_clock_of_the_database_is_in_utc_in_any_time_zone_of_the_server(settings):
    ClientFactory()
    if connection.vendor == "mysql":
        with connection.cursor() as cursor:
            cursor.execute("SET time_zone = '+09:00'")

    now = Client.objects.annotate(now=DatabaseNow()).values_list("now", flat=True).get()

    assert abs(now - timezone.now()) < timedelta(seconds=30)
    stored = Client.objects.annotate(
        difference=DatabaseNow() - Value(timezone.now(), output_field=DateTimeField())
    )
    assert abs(stored.get().difference) < timedelta(seconds=30)
    connection.close()
