from __future__ import annotations

import uuid

import pytest
from django.contrib.auth import get_user_model
from django.db import connection, models
from django.test.utils import CaptureQueriesContext
from django.utils import translation

from django_ciam_token.admin import paging, search
from django_ciam_token.api import issue_tokens
from django_ciam_token.clients.registration import create_client
from django_ciam_token.models import Consent, RefreshToken, SecurityEvent
from tests.factories import ClientFactory, UserFactory
from tests.operators import url

pytestmark = pytest.mark.django_db

SESSIONS = "refreshtoken_changelist"
EVENTS = "securityevent_changelist"
EMAIL = "Ada.Lovelace@Example.org"


@pytest.fixture
def ada(settings):
    settings.CIAM_TOKEN = {**getattr(settings, "CIAM_TOKEN", {}), "AUDIT_TRAIL": False}
    return UserFactory(username="ada", email=EMAIL, first_name="Ada", last_name="Lovelace")


@pytest.fixture
def session(ada):
    """Ada's, for a client with an id as the product draws it, among other people's."""
    for _ in range(2):
        issue_tokens(client=create_client(name="Another", application_type="spa")[0], user=UserFactory())
    client, _secret = create_client(name="Customer portal", application_type="web")
    issue_tokens(client=client, user=ada)
    session = RefreshToken.objects.select_related("client").get(user=ada)
    RefreshToken.objects.filter(pk=session.pk).update(last_address="2001:db8::7")
    # Its own range of time: ids of the same minute begin alike.
    moved = uuid.UUID(int=session.pk.int - (1 << 112))
    RefreshToken.objects.filter(pk=session.pk).update(id=moved)
    session.pk = moved
    return session


def found(operator, page, term, **parameters):
    response = operator.get(url(page), {"q": term, **parameters})
    return [row.pk for row in response.context["cl"].result_list]


TERMS = {
    "client_id": lambda session: session.client.client_id,
    "client_id in capitals": lambda session: session.client.client_id.upper(),
    "beginning of the client_id": lambda session: session.client.client_id[:10],
    "session id": lambda session: str(session.pk),
    "session id without hyphens": lambda session: session.pk.hex.upper(),
    "beginning of the session id": lambda session: str(session.pk)[:8],
    "a longer beginning of it": lambda session: str(session.pk)[:30],
    "address": lambda _: "2001:DB8:0::7",
    "user name": lambda _: "ADA",
    "beginning of the user name": lambda _: "Ad",
    "e-mail address": lambda _: EMAIL.lower(),
    "first name and family name": lambda _: "ada love",
    "family name and first name": lambda _: "lovelace ada",
    "application name": lambda _: "customer PORT",
}


@pytest.mark.parametrize("term", TERMS.values(), ids=TERMS)
def test_a_session_is_found_by_what_an_operator_has_of_it(operator, session, term):
    assert found(operator, SESSIONS, term(session)) == [session.pk]


@pytest.mark.parametrize("term", TERMS.values(), ids=TERMS)
def test_an_event_is_found_by_what_an_operator_has_of_it(operator, session, term):
    values = {"session_id": session.pk, "client_id": session.client.client_id, "user_id": session.user_id}
    event = SecurityEvent.objects.create(event="issued", address="2001:db8::7", **values)
    for other in RefreshToken.objects.exclude(pk=session.pk).select_related("client"):
        SecurityEvent.objects.create(
            event="issued", session_id=other.pk, client_id=other.client.client_id, user_id=other.user_id
        )

    assert found(operator, EVENTS, term(session)) == [event.pk]


@pytest.mark.parametrize("term", ["gone-client", "carol", "7777"])
def test_events_are_found_by_what_no_longer_exists(operator, term):
    values = {"client_id": "gone-client", "user_id": "7777", "actor": "carol"}
    event = SecurityEvent.objects.create(event="revoked", **values)
    SecurityEvent.objects.create(event="revoked")

    assert found(operator, EVENTS, term) == [event.pk]


def test_a_consent_is_found_by_the_e_mail_address_of_its_user(operator, ada):
    consents = [
        Consent.objects.create(client=ClientFactory(), user=user, scope="openid")
        for user in (ada, UserFactory())
    ]

    assert found(operator, "consent_changelist", EMAIL) == [consents[0].pk]


@pytest.mark.parametrize("page", [SESSIONS, EVENTS, "consent_changelist"])
def test_an_empty_result_says_what_was_searched(operator, page):
    text = operator.get(url(page), {"q": "nobody <b>"}).content.decode()

    assert "Nothing matches “nobody &lt;b&gt;”." in text
    assert "<li>email address of the newest 50,000 users</li>" in text
    assert "<li>client_ids</li>" in text
    assert "Search without filters" not in text


@pytest.mark.parametrize(("language", "number"), [("en", "50,000"), ("de", "50.000")])
def test_how_many_were_searched_is_written_as_the_language_does(operator, language, number):
    with translation.override(language):
        text = operator.get(url(SESSIONS), {"q": "nobody", "state": "live"}).content.decode()

    # The filter by state, addresses, and three columns of users.
    assert text.count(number) >= 5
    assert "50000" not in text


def test_an_empty_result_offers_the_search_without_filters(operator, session):
    text = operator.get(url(SESSIONS), {"q": "ada", "state": "revoked"}).content.decode()

    assert '<a href="?q=ada">Search without filters</a>' in text
    assert "Nothing matches" not in operator.get(url(SESSIONS), {"q": "ada"}).content.decode()


def test_a_search_makes_a_constant_number_of_queries(operator, session):
    def count():
        with CaptureQueriesContext(connection) as queries:
            found(operator, SESSIONS, "Lovelace")
        return len(queries)

    count()
    one = count()
    for _ in range(5):
        issue_tokens(client=session.client, user=UserFactory(last_name="Lovelace"))

    assert count() == one
    assert len(found(operator, SESSIONS, "Lovelace")) == 6


def test_columns_without_an_index_are_searched_only_among_the_newest_users(operator, session, monkeypatch):
    monkeypatch.setattr(paging, "WINDOW", 1)

    assert found(operator, SESSIONS, EMAIL) == []
    assert found(operator, SESSIONS, "ada") == [session.pk]


def test_an_e_mail_address_with_an_index_is_searched_among_all_users(operator, session, monkeypatch):
    monkeypatch.setattr(paging, "WINDOW", 1)
    monkeypatch.setattr(get_user_model()._meta.get_field("email"), "db_index", True)

    assert found(operator, SESSIONS, EMAIL.lower()) == (
        # Without a case-insensitive collation the index finds only the usual spellings.
        [] if connection.vendor == "postgresql" else [session.pk]
    )
    assert found(operator, SESSIONS, EMAIL) == [session.pk]


def test_user_models_without_names_are_searched_by_user_name(operator, session, monkeypatch):
    monkeypatch.setattr(search, "_NAMES", ("nickname", "id"))
    monkeypatch.setattr(get_user_model(), "EMAIL_FIELD", "username")

    assert found(operator, SESSIONS, "ada") == [session.pk]
    assert found(operator, SESSIONS, "Lovelace") == []


def test_a_column_with_a_collation_of_its_own_is_compared_by_that(monkeypatch):
    field = models.CharField(db_collation="any_case")
    field.set_attributes_from_name("email")

    assert search._begins_unindexed(field, "A") == models.Q(email="A")


@pytest.mark.parametrize("term", ["0199", "zzzzzzzz", "f" * 31, "F" * 8])
def test_what_begins_no_id_is_no_range(term):
    assert search.id_range(term) is None


def test_the_zone_of_an_address_is_not_looked_for():
    assert search.address("fe80::1%" + "a" * 60) == "fe80::1"
