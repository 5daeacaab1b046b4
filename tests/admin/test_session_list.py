from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.utils import timezone

from django_ciam_token.admin import paging, session_list
from django_ciam_token.api import issue_tokens
from django_ciam_token.database.uuid7 import lowest_uuid7, uuid7
from django_ciam_token.models import RefreshToken
from tests.factories import ClientFactory, UserFactory
from tests.operators import url

pytestmark = pytest.mark.django_db

LIST = "refreshtoken_changelist"


def shown(response):
    """The keys of the sessions in a list."""
    return [session.pk for session in response.context["cl"].result_list]


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ("", "live expired revoked old"),
        ("state=live", "live old"),
        ("state=expired", "expired"),
        ("state=revoked", "revoked"),
        ("state=revoked-reuse", "revoked"),
        ("state=revoked-user", ""),
        ("state=nonsense", "live expired revoked old"),
        ("started=1d", "live expired revoked"),
        ("started=nonsense", "live expired revoked old"),
        ("client__id__exact=CLIENT", "old"),
        ("client__id__exact=x", "live expired revoked old"),
        ("client__id__exact=999999", ""),
    ],
)
def test_the_list_is_filtered(operator, web_client, user, filters, found):
    now = timezone.now()
    rows = {}
    other = ClientFactory()
    for name in ("live", "expired", "revoked", "old"):
        issue_tokens(client=other if name == "old" else web_client, user=user)
        rows[name] = RefreshToken.objects.order_by("-pk").first()
    RefreshToken.objects.filter(pk=rows["expired"].pk).update(expires_at=now)
    RefreshToken.objects.filter(pk=rows["revoked"].pk).update(revoked_at=now, revoked_reason="reuse")
    old = lowest_uuid7(now - timedelta(days=3))
    RefreshToken.objects.filter(pk=rows["old"].pk).update(id=old)
    keys = {name: row.pk for name, row in rows.items()} | {"old": old}

    response = operator.get(url(LIST) + "?" + filters.replace("CLIENT", str(other.pk)))

    assert set(shown(response)) == {keys[name] for name in found.split()}


def test_a_state_is_searched_for_among_the_newest_and_the_page_says_so(operator, web_client, monkeypatch):
    monkeypatch.setattr(paging, "WINDOW", 2)
    for _ in range(3):
        issue_tokens(client=web_client, user=UserFactory())
    newest = list(RefreshToken.objects.order_by("-pk").values_list("pk", flat=True)[:2])

    response = operator.get(url(LIST) + "?state=live")

    assert shown(response) == newest
    assert "only the newest 2 sessions" in response.content.decode()


@pytest.mark.parametrize(
    ("term", "found"), [("ali", True), ("Custom", True), ("portal-1", True), ("bob", False), (" ", True)]
)
def test_the_search_finds_users_by_their_beginning_and_clients_by_name(operator, term, found):
    issue_tokens(
        client=ClientFactory(client_id="portal-1", name="Customer portal"), user=UserFactory(username="alice")
    )

    assert len(shown(operator.get(url(LIST), {"q": term}))) == found


def test_a_term_that_names_a_user_and_a_client_finds_both(operator):
    issue_tokens(client=ClientFactory(name="acme shop"), user=UserFactory(username="zoe"))
    issue_tokens(client=ClientFactory(), user=UserFactory(username="acme"))

    assert len(shown(operator.get(url(LIST), {"q": "acme"}))) == 2


@pytest.mark.parametrize("term", ["id", "id with spaces", "client", "user"])
def test_sessions_are_found(operator, user, web_client, first_tokens, term):
    issue_tokens(client=ClientFactory(client_id="another"), user=UserFactory(username="somebody"))
    session = RefreshToken.objects.get(user=user)
    terms = {
        "id": str(session.pk),
        "id with spaces": f" {session.pk} ",
        "client": web_client.client_id,
        "user": user.username,
    }

    page = operator.get(url("refreshtoken_changelist"), {"q": terms[term]}).content.decode()

    assert page.count('class="field-') >= 1
    assert str(session.pk) in page
    other = RefreshToken.objects.exclude(pk=session.pk).get()
    assert str(other.pk) not in page


def test_the_filter_lists_the_chosen_client_however_many_there_are(operator, session, monkeypatch):
    monkeypatch.setattr("django_ciam_token.admin.session_list._MOST_CLIENTS", 0)

    page = operator.get(url(LIST) + f"?client__id__exact={session.client_id}").content.decode()

    assert f"client__id__exact={session.client_id}" in page


@pytest.mark.parametrize("number", ["9" * 30, str(2**63), "-1", "²"])
def test_numbers_too_large_for_a_key_find_nothing(operator, session, number):
    assert operator.get(url(LIST), {"client__id__exact": number}).status_code == 200
    assert operator.get(url("refreshtoken_sign_out", number)).status_code == 404


def test_keys_of_clients_are_accepted_up_to_the_largest():
    """CockroachDB's keys have nineteen digits. A row with the largest would exhaust MariaDB's counter."""
    assert session_list._key(str(2**63 - 1)) == 2**63 - 1
    assert session_list._key(str(2**63)) is None


def test_the_keys_of_new_sessions_are_not_below_the_bound_of_their_time():
    before = lowest_uuid7(timezone.now())

    assert uuid7() >= before > lowest_uuid7(timezone.now() - timedelta(seconds=1))
    assert uuid.UUID(int=0) == lowest_uuid7(timezone.now().replace(year=1969))


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "postgresql", reason="only PostgreSQL has such collations")
def test_user_names_with_a_nondeterministic_collation_are_compared_as_a_whole(
    operator, web_client, monkeypatch
):
    """What Django advises for names that do not differ in case; PostgreSQL refuses LIKE on such a column."""
    issue_tokens(client=web_client, user=UserFactory(username="Alice"))
    options = "provider = icu, locale = 'und-u-ks-level2', deterministic = false"
    column = "ALTER TABLE auth_user ALTER username TYPE varchar(150)"
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE COLLATION IF NOT EXISTS any_case ({options})")
        cursor.execute("DROP INDEX IF EXISTS auth_user_username_6821ab7c_like")
        cursor.execute(f"{column} COLLATE any_case")
    monkeypatch.setattr(get_user_model()._meta.get_field("username"), "db_collation", "any_case")
    try:
        page = operator.get(url(LIST), {"q": "aLiCe"})
        assert page.status_code == 200
        assert "Alice" in page.content.decode()
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f'{column} COLLATE "default"')
