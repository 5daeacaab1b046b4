from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone as django_timezone

from django_ciam_token.database.uuid7 import lowest_uuid7
from django_ciam_token.models import RefreshToken
from django_ciam_token.monitoring import figures, sampling
from tests.factories import ClientFactory, sessions

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("ages_in_days", [(1, 29), (25, 29)])
def test_a_sample_represents_old_and_new_sessions_equally(monkeypatch, ages_in_days, times):
    """The old sessions have ended, whether they began evenly over time or mostly long ago.

    In a table of a million rows, InnoDB estimates twice as many rows in each range.
    """
    believed = sampling._rows_between
    monkeypatch.setattr(
        sampling, "_rows_between", lambda *bounds, using: times * believed(*bounds, using=using)
    )
    monkeypatch.setattr(figures, "EXACT_UP_TO", 100)
    monkeypatch.setattr(figures, "SAMPLE", 300)
    monkeypatch.setattr(figures, "rows_by_estimate", lambda using: 1_200)
    client, now = ClientFactory(), django_timezone.now()
    newest, oldest = ages_in_days
    grown_old = [newest + (oldest - newest) * number / 900 for number in range(900, 0, -1)]
    for ages, expires_at in (
        (grown_old, now - DAY),
        ([number / 301 for number in range(300, 0, -1)], now + DAY),
    ):
        RefreshToken.objects.bulk_create(
            RefreshToken(
                pk=uuid.UUID(int=lowest_uuid7(now - age * DAY).int | 7 << 76 | 2 << 62),
                client=client,
                scope="openid",
                secret_digest=b"digest",
                nonce=b"nonce",
                issued_at=now - age * DAY,
                expires_at=expires_at,
            )
            for age in ages
        )

    live = figures.session_figures(now=now).live.get(client.pk, 0)

    if connection.vendor == "postgresql":  # It draws whole pages, and there are few here.
        assert 0 <= live <= 1_200
    else:
        assert live == pytest.approx(300, rel=0.2)


def test_sessions_that_began_in_one_millisecond_can_be_sampled(monkeypatch):
    monkeypatch.setattr(figures, "EXACT_UP_TO", 2)
    monkeypatch.setattr(figures, "SAMPLE", 1_000)
    client = sessions(4)
    for number, session in enumerate(RefreshToken.objects.all()):
        RefreshToken.objects.filter(pk=session.pk).update(id=uuid.UUID(int=7 << 76 | 2 << 62 | number))

    assert figures.session_figures(now=django_timezone.now()).live == {client.pk: 4}


def test_a_table_that_becomes_empty_meanwhile_has_an_empty_sample(monkeypatch):
    monkeypatch.setattr(figures, "EXACT_UP_TO", -1)
    monkeypatch.setattr(figures, "rows_by_estimate", lambda using: 0)

    assert figures.session_figures(now=django_timezone.now()).live == {}


def test_an_unknown_database_backend_is_not_asked_for_an_estimate(monkeypatch):
    """Backends with a vendor name of their own, such as CockroachDB's, have other catalogs."""
    monkeypatch.setattr(figures, "EXACT_UP_TO", 2)
    client = sessions(4)
    monkeypatch.setattr(connection, "vendor", "cockroachdb")

    found = figures.session_figures(now=django_timezone.now())

    assert found == figures.SessionFigures(total=3, is_estimate=True, live={client.pk: 4})
