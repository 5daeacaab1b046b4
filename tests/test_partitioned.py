"""The script that partitions the table of sessions: it loses nothing, and everything works on partitions.

The rest of the suite runs on a partitioned table with `tox -e partitioned`.
"""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.db import DatabaseError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from django_ciam_token.api import RevocationReason, issue_tokens, list_sessions, revoke_sessions
from django_ciam_token.models import RefreshToken
from django_ciam_token.monitoring import figures
from django_ciam_token.purging import purge
from django_ciam_token.sessions.criteria import SessionCriteria
from tests.factories import make_session
from tests.partitions import PARTITIONS, SCRIPT, TABLE, leaves, partition, select
from tests.test_apps import updates_of_sessions

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif(connection.vendor != "postgresql", reason="the script is for PostgreSQL"),
]

DAY = timedelta(days=1)
PARTS = 4


@pytest.fixture
def tokens(web_client, user):
    """Refresh tokens of sessions that exist before the table is partitioned."""
    return [issue_tokens(client=web_client, user=user)["refresh_token"] for _ in range(20)]


@pytest.fixture
def partitioned(tokens):
    partition(PARTS)


@pytest.fixture
def committed(transactional_db):
    """Partition the table in a committed transaction, not only in that of a test."""
    partition(PARTS)
    yield
    partition(PARTITIONS)


def description():
    """Everything that later migrations, other tables and other roles rely on."""
    constraints = select(
        "SELECT conname, contype, pg_get_constraintdef(oid) FROM pg_constraint "
        "WHERE conrelid = %s::regclass AND contype <> 'n' ORDER BY conname",
        TABLE,
    )
    indexes = select(
        "SELECT indexrelid::regclass::text, indisunique, "
        "substring(pg_get_indexdef(indexrelid) FROM 'USING.*') "
        "FROM pg_index WHERE indrelid = %s::regclass ORDER BY 1",
        TABLE,
    )
    columns = select(
        "SELECT attname, format_type(atttypid, atttypmod), attnotnull, attstorage FROM pg_attribute "
        "WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
        TABLE,
    )
    owned = select(
        "SELECT pg_get_userbyid(relowner), relacl::text FROM pg_class WHERE oid = %s::regclass", TABLE
    )
    referring = select(
        "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint "
        "WHERE confrelid = %s::regclass AND conparentid = 0 ORDER BY conname",
        TABLE,
    )
    return {
        "constraints": constraints,
        "indexes": indexes,
        "columns": columns,
        "owned": owned,
        "referring": referring,
    }


def rows():
    return sorted(select(f"SELECT * FROM {TABLE}"))


# --- the script --------------------------------------------------------------------------------------


def test_the_table_has_as_many_partitions_as_this_run_asks_for():
    assert len(leaves()) == max(PARTITIONS, 1)


def test_partitioning_and_undoing_it_keep_rows_names_and_privileges(tokens):
    [(is_superuser, owner)] = select("SELECT rolsuper, rolname FROM pg_roles WHERE rolname = current_user")
    with connection.cursor() as cursor:
        cursor.execute(
            f"GRANT SELECT ON {TABLE} TO pg_monitor WITH GRANT OPTION; GRANT INSERT ON {TABLE} TO public"
        )
        if is_superuser:  # Only a superuser may give a table to another role.
            cursor.execute(f"SET CONSTRAINTS ALL IMMEDIATE; ALTER TABLE {TABLE} OWNER TO pg_monitor")
        cursor.execute(
            "CREATE TABLE devices (session uuid CONSTRAINT of_session "
            f"REFERENCES {TABLE} DEFERRABLE INITIALLY DEFERRED)"
        )
        cursor.execute(f"INSERT INTO devices SELECT id FROM {TABLE}")
    described, stored = description(), rows()
    assert len(stored) == 20

    for number in (PARTS, 2 * PARTS, 0, 2):
        partition(number)

        assert description() == described, number
        assert rows() == stored
        assert len(leaves()) == max(number, 1)
        owners = select(
            "SELECT DISTINCT pg_get_userbyid(relowner), reloptions FROM pg_class "
            "WHERE oid = ANY (%s::regclass[])",
            leaves(),
        )
        assert owners == [("pg_monitor" if is_superuser else owner, ["fillfactor=80"])]


def test_a_table_that_refers_to_sessions_still_does_so(partitioned):
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLE devices (session uuid REFERENCES {TABLE})")
        cursor.execute(f"INSERT INTO devices SELECT id FROM {TABLE}")
    partition(PARTS + 1)

    with pytest.raises(DatabaseError, match="devices"), transaction.atomic():
        select(f"DELETE FROM {TABLE} RETURNING id")


def test_the_rows_are_spread_over_the_partitions(web_client, user):
    for _ in range(200):
        make_session(web_client, user)
    partition(PARTS)

    found = Counter(part for (part,) in select(f"SELECT tableoid::regclass::text FROM {TABLE}"))

    assert set(found) == set(leaves())
    assert min(found.values()) > 20


def test_the_same_number_of_partitions_again_changes_nothing(partitioned):
    parts = select("SELECT inhrelid FROM pg_inherits WHERE inhparent = %s::regclass", TABLE)

    partition(PARTS)

    assert select("SELECT inhrelid FROM pg_inherits WHERE inhparent = %s::regclass", TABLE) == parts


@pytest.mark.parametrize("number", [-1, 1025])
def test_an_impossible_number_of_partitions_is_refused(db, number):
    with pytest.raises(DatabaseError, match="choose from 0 to 1024"), transaction.atomic():
        partition(number)


@pytest.mark.parametrize(
    "statement",
    [
        (
            f"CREATE TRIGGER mine BEFORE UPDATE ON {TABLE} "
            "FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()"
        ),
        f"CREATE POLICY mine ON {TABLE}",
        f"CREATE PUBLICATION mine FOR TABLE {TABLE}",
    ],
    ids=["trigger", "policy", "publication"],
)
def test_the_script_stops_if_it_would_drop_something_silently(db, statement):
    partition(0)
    with connection.cursor() as cursor:
        cursor.execute(statement)

    with (
        pytest.raises(DatabaseError, match="triggers or policies, or is in a publication"),
        transaction.atomic(),
    ):
        partition(PARTS)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_an_isolation_level_that_would_lose_concurrent_commits_is_refused(level):
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"SET TRANSACTION ISOLATION LEVEL {level}")
        with pytest.raises(DatabaseError, match="read committed"), transaction.atomic():
            partition(PARTS + 1)


def test_a_table_without_storage_options_can_be_partitioned(tokens):
    partition(0)
    with connection.cursor() as cursor:
        cursor.execute(f"SET CONSTRAINTS ALL IMMEDIATE; ALTER TABLE {TABLE} RESET (fillfactor)")

    partition(PARTS)

    assert len(leaves()) == PARTS
    assert RefreshToken.objects.count() == len(tokens)


def test_without_a_number_there_are_eight_partitions(db):
    partition(0)

    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT set_config('ciam.partitions', '', true)")
        cursor.execute(SCRIPT.read_text())

    assert len(leaves()) == 8


# --- migrations --------------------------------------------------------------------------------------


def test_there_is_nothing_to_migrate_and_no_migration_is_missing(partitioned, capsys):
    call_command("migrate", verbosity=1)
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)

    assert "No migrations to apply" in capsys.readouterr().out


def test_a_migration_changes_all_partitions(partitioned):
    """Migrate backwards and forwards again: this makes and removes indexes and alters a foreign key."""
    described = description()

    call_command("migrate", "django_ciam_token", "0002", verbosity=0)
    assert description() != described
    call_command("migrate", "django_ciam_token", verbosity=0)

    changed = description()
    assert changed["columns"] == described["columns"]
    assert changed["indexes"] == described["indexes"]
    assert len(changed["constraints"]) == len(described["constraints"])
    assert len(leaves()) == PARTS


# --- the package on a partitioned table -------------------------------------------------------------------


def test_a_refresh_reads_and_writes_one_partition(partitioned, tokens, web_client, refresh):
    with CaptureQueriesContext(connection) as queries:
        assert refresh(web_client, tokens[7]).status_code == 200

    statements = [query["sql"] for query in queries if TABLE in query["sql"]]
    assert [statement.split()[0] for statement in statements] == ["SELECT", "UPDATE"]
    for statement in statements:
        plan = "\n".join(line for (line,) in select(f"EXPLAIN {statement.replace('%', '%%')}"))
        assert sum(f" on {part} " in plan for part in leaves()) == 1, plan


def test_rotations_are_heap_only_in_every_partition(committed, web_client, user, refresh):
    sessions = [issue_tokens(client=web_client, user=user)["refresh_token"] for _ in range(8)]
    updates_before, heap_only_before = updates_of_sessions()

    for token in sessions:
        for _ in range(5):
            token = refresh(web_client, token).json()["refresh_token"]

    updates, heap_only = updates_of_sessions()
    assert updates - updates_before == 40
    assert heap_only - heap_only_before >= 38


def test_sessions_are_listed_newest_first_and_ended_across_partitions(
    partitioned, tokens, user, refresh, web_client
):
    listed = [session.session_id for session in list_sessions(user=user)]
    assert listed == sorted(listed, reverse=True)
    assert len(listed) == 20

    assert revoke_sessions(SessionCriteria(user=user), reason=RevocationReason.OPERATOR, batch_size=3) == 20

    assert {refresh(web_client, token).status_code for token in tokens} == {400}


def test_ended_sessions_are_purged_from_every_partition(partitioned, web_client, user):
    for _ in range(30):
        make_session(web_client, user, expires_at=timezone.now() - 60 * DAY)

    result = purge(batch_size=7)

    assert (result.sessions, result.finished) == (30, True)
    assert RefreshToken.objects.count() == 20


def test_the_estimates_of_the_overview_add_up_the_partitions(monkeypatch, partitioned, web_client):
    monkeypatch.setattr(figures, "EXACT_UP_TO", 2)
    monkeypatch.setattr(figures, "SAMPLE", 1_000)  # All of them, so that the estimate is exact.

    found = figures.session_figures(now=timezone.now())

    assert found == figures.SessionFigures(total=20, is_estimate=True, live={web_client.pk: 20})


@pytest.mark.parametrize("query", ["", "?state=live", "?started=1d", "?q=user-"])
def test_the_admin_lists_the_newest_sessions_of_all_partitions(partitioned, operator, query):
    page = operator.get(reverse("admin:django_ciam_token_refreshtoken_changelist") + query)

    shown = [session.pk for session in page.context["cl"].result_list]
    assert shown == sorted(RefreshToken.objects.values_list("pk", flat=True), reverse=True)
