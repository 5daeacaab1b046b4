from __future__ import annotations

import csv
import io
from datetime import datetime

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from django_ciam_token.admin import csv_export
from django_ciam_token.models import RefreshToken, SecurityEvent
from tests.factories import ClientFactory, sessions
from tests.operators import browser_of, url

pytestmark = pytest.mark.django_db

MAY_EXPORT_SESSIONS = ("view_refreshtoken", "export_refreshtoken")


def rows_of(response):
    content = b"".join(response.streaming_content).decode()
    return list(csv.DictReader(io.StringIO(content)))


def test_the_sessions_that_the_filters_and_the_search_left_are_exported(operator):
    portal, other = ClientFactory(name="Portal"), ClientFactory(name="Other")
    sessions(2, client=portal)
    ended = RefreshToken.objects.order_by("pk").first()
    RefreshToken.objects.filter(pk=ended.pk).update(revoked_at=ended.issued_at, revoked_reason="user")
    sessions(1, client=other, revoked_at=ended.issued_at)

    response = operator.post(url("refreshtoken_export") + "?q=Portal&state=revoked")

    assert response["Content-Type"] == "text/csv; charset=utf-8"
    assert response["Content-Disposition"].startswith('attachment; filename="refreshtoken-')
    assert "no-store" in response["Cache-Control"]
    found = rows_of(response)
    assert [(row["session_id"], row["state"], row["revoked_reason"]) for row in found] == [
        (str(ended.pk), "revoked", "user")
    ]


def test_no_secret_is_exported(operator, session):
    [row] = rows_of(operator.post(url("refreshtoken_export")))

    assert not {"secret_digest", "nonce", "session_auth_hash"} & set(row)
    assert row["session_id"] == str(session.pk)
    assert row["issued_at"].endswith("+00:00")


def test_instants_are_in_utc_also_on_a_site_without_time_zones(settings):
    settings.USE_TZ, settings.TIME_ZONE = False, "Europe/Berlin"

    noon = datetime(2026, 7, 1, 12)  # noqa: DTZ001 - as such a site has it
    assert csv_export.safe(noon) == "2026-07-01T10:00:00.000+00:00"


def test_an_export_is_bounded_and_read_in_batches(operator, monkeypatch):
    monkeypatch.setattr(csv_export, "MOST_EXPORTED", 5)
    monkeypatch.setattr(csv_export, "_BATCH", 2)
    sessions(7)
    newest = list(RefreshToken.objects.order_by("-pk").values_list("pk", flat=True)[:5])

    response = operator.post(url("refreshtoken_export"))
    with CaptureQueriesContext(connection) as queries:
        found = rows_of(response)

    assert [row["session_id"] for row in found] == [str(key) for key in newest]
    assert len(queries) == 3


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n"])
def test_what_a_spreadsheet_takes_for_a_formula_is_written_as_text(operator, start):
    SecurityEvent.objects.create(event="issued", reason=f"{start}HYPERLINK(1)", client_id='"=1+1')

    row = rows_of(operator.post(url("securityevent_export") + "?event__exact=issued"))[0]

    assert row["reason"].startswith("'" + start[:1]) or row["reason"].startswith("'\n")
    assert row["client_id"] == '"=1+1'


def test_an_export_is_an_event_that_says_what_was_exported_and_by_whom(
    operator, session, django_capture_on_commit_callbacks
):
    with django_capture_on_commit_callbacks(execute=True):
        operator.post(url("refreshtoken_export") + "?state=live")

    event = SecurityEvent.objects.get(event="exported")
    assert (event.reason, event.actor, event.address) == ("refreshtoken by state", "operator", "127.0.0.1")


@pytest.mark.parametrize("name", ["refreshtoken", "securityevent"])
def test_exporting_needs_a_permission_of_its_own(name, session):
    browser = browser_of(f"view_{name}")

    assert browser.post(url(f"{name}_export")).status_code == 403
    assert url(f"{name}_export") not in browser.get(url(f"{name}_changelist")).content.decode()


def test_the_list_offers_the_export_of_just_what_it_shows(session):
    browser = browser_of(*MAY_EXPORT_SESSIONS)

    page = browser.get(url("refreshtoken_changelist"), {"state": "live"}).content.decode()

    assert f'action="{url("refreshtoken_export")}?state=live"' in page


def test_the_permission_to_export_does_not_let_anybody_see(session):
    assert browser_of("export_refreshtoken").post(url("refreshtoken_export")).status_code == 403


def test_a_link_from_elsewhere_exports_nothing(operator, session):
    assert operator.get(url("refreshtoken_export")).status_code == 405


def test_a_filter_that_makes_no_sense_leads_back_to_the_list(operator, session):
    response = operator.post(url("refreshtoken_export") + "?nonsense=1")

    assert response.status_code == 302
