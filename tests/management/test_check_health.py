from __future__ import annotations

from datetime import timedelta

import django
import pytest
from django.core import mail
from django.core.exceptions import ImproperlyConfigured
from django.core.mail import EmailMessage
from django.core.mail.backends import locmem
from django.core.management import CommandError
from django.db import OperationalError
from django.db.models import F, QuerySet
from django.test import TestCase, override_settings
from django.utils import timezone

from django_ciam_token import signals
from django_ciam_token.management.commands import check_health
from django_ciam_token.models import EventType, SecurityEvent, SigningKey
from tests.conftest import post_form

pytestmark = pytest.mark.django_db

REUSE, FAILED = EventType.REUSE_DETECTED, EventType.CLIENT_AUTHENTICATION_FAILED


@pytest.fixture(autouse=True)
def _somebody_to_tell(settings):
    has_plain_addresses = django.VERSION >= (6, 0)
    settings.ADMINS = ["ops@example.com"] if has_plain_addresses else [("Ops", "ops@example.com")]


def events(number, event, *, ago=timedelta(minutes=1), **fields):
    at = timezone.now() - ago
    SecurityEvent.objects.bulk_create(SecurityEvent(event=event, at=at, **fields) for _ in range(number))


def subjects():
    return [message.subject for message in mail.outbox]


def test_nothing_needs_attention_and_nobody_is_told(run):
    assert run("check_health") == "Nothing needs attention.\n"
    assert run("check_health", "--mail") == "Nothing needs attention.\n"
    assert mail.outbox == []
    assert not SecurityEvent.objects.exists()


def test_without_a_key_the_exit_status_says_so(run):
    SigningKey.objects.all().delete()

    with pytest.raises(CommandError, match="1 of these") as caught:
        run("check_health")
    assert caught.value.returncode == 1
    assert mail.outbox == []


def test_each_kind_is_mailed_once_an_hour_however_much_happens(run, web_client, traces):
    events(1000, REUSE, client_id=web_client.client_id)
    run("check_health", "--mail")
    events(1000, REUSE, client_id=web_client.client_id)
    run("check_health", "--mail")
    SigningKey.objects.all().delete()
    run("check_health", "--mail")
    run("check_health", "--mail")

    assert subjects() == [
        "[Django] Token service: reuse_detected",
        "[Django] Token service: no_usable_key",
    ]
    assert mail.outbox[0].to == ["ops@example.com"]
    assert f"1000 times: {web_client.client_id} (1000)." in mail.outbox[0].body
    assert [sent["kind"] for sent in traces.of(signals.alert_raised)] == ["reuse_detected", "no_usable_key"]
    assert list(
        SecurityEvent.objects.filter(event=EventType.ALERTED).order_by("pk").values_list("reason", flat=True)
    ) == ["reuse_detected", "no_usable_key"]


def test_after_the_quiet_time_it_is_mailed_again(run):
    SigningKey.objects.all().delete()
    run("check_health", "--mail")
    SecurityEvent.objects.update(at=timezone.now() - timedelta(minutes=31))
    run("check_health", "--mail")
    assert len(mail.outbox) == 1

    run("check_health", "--mail", "--quiet-for", "30m")

    assert len(mail.outbox) == 2


def test_what_the_service_records_is_found(run, web_client, first_tokens, refresh):
    """From the request to the e-mail, which has no token in it."""
    tokens = [first_tokens["refresh_token"]]
    for _ in range(2):
        tokens.append(refresh(web_client, tokens[-1]).json()["refresh_token"])
    with TestCase.captureOnCommitCallbacks(execute=True):
        assert refresh(web_client, tokens[0]).status_code == 400
        post_form(
            {"grant_type": "refresh_token", "client_id": web_client.client_id, "client_secret": "wrong"}
        )
    run("check_health", "--mail", "--failures", "1")

    [message] = mail.outbox
    assert "reuse_detected" in message.subject
    assert f"1 times: {web_client.client_id} (1)" in message.body
    assert not any(token in message.body for token in [*tokens, web_client.plain_secret])


@pytest.mark.parametrize(("number", "expected"), [(100, []), (101, ["authentication_failures"])])
def test_failed_authentications_are_an_alert_above_a_rate(run, number, expected):
    events(number, FAILED, client_id="app")
    events(500, FAILED, client_id="app", ago=timedelta(minutes=7))

    run("check_health", "--mail")

    assert subjects() == [f"[Django] Token service: {kind}" for kind in expected]


def test_only_the_clients_concerned_most_are_named(traces, run):
    for number in range(15):
        events(number + 1, REUSE, client_id=f"app-{number}")
    events(50, REUSE, client_id="")

    run("check_health", "--mail")

    [sent] = traces.of(signals.alert_raised)
    assert sent["count"] == 170
    assert sent["client_ids"] == ("", *(f"app-{number}" for number in range(14, 5, -1)))
    assert "unknown clients (50), app-14 (15)" in sent["text"]


def test_a_key_past_its_age_is_an_alert_until_its_successor_is_published(run):
    SigningKey.objects.update(active_at=timezone.now() - timedelta(days=400))
    run("check_health", "--mail")
    assert subjects() == ["[Django] Token service: key_past_its_age"]
    assert SigningKey.objects.get().kid in mail.outbox[0].body

    run("rotate_signing_key")

    assert run("check_health") == "Nothing needs attention.\n"


def test_a_key_that_the_secrets_do_not_decrypt_is_not_usable(run):
    with override_settings(SECRET_KEY="another-secret-" + "x" * 40):
        run("check_health", "--mail")

    assert "the active one is not usable" in mail.outbox[0].body


def test_a_database_that_refuses_is_an_alert_each_time(run, monkeypatch, settings):
    settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, "ALERT_EMAILS": ["a@example.com", "b@example.com"]}

    def gone(self):
        raise OperationalError("the password of the database is 7f3a")

    monkeypatch.setattr(QuerySet, "__iter__", gone)
    monkeypatch.setattr(QuerySet, "bulk_create", lambda *args, **kwargs: gone(None))
    for _ in range(2):
        run("check_health", "--mail")

    assert subjects() == ["[Django] Token service: database_unavailable"] * 2
    assert mail.outbox[0].to == ["a@example.com", "b@example.com"]
    assert "7f3a" not in mail.outbox[0].body


@pytest.mark.parametrize(
    "wrong",
    [{"SIGNING_KEY_MAX_AGE": "a year"}, {"ISSUER": "no address"}, {"ALERT_EMAILS": 7}, {"AUDIT_TRAIL": 7}],
)
def test_wrong_settings_are_an_alert(run, settings, wrong):
    """Django's system checks would end the command before it could say so."""
    assert not check_health.Command.requires_system_checks
    settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, **wrong}

    run("check_health", "--mail")

    assert subjects() == ["[Django] Token service: wrong_settings"]


def test_an_e_mail_that_could_not_be_sent_is_tried_again(run, monkeypatch):
    SigningKey.objects.all().delete()

    def refuse(self, messages):
        raise ConnectionRefusedError("smtp://user:password@mail")

    with monkeypatch.context() as patch:
        patch.setattr(locmem.EmailBackend, "send_messages", refuse)
        with pytest.raises(CommandError) as caught:
            run("check_health", "--mail")
    assert str(caught.value) == "The e-mail could not be sent: ConnectionRefusedError."

    run("check_health", "--mail")

    assert len(mail.outbox) == 1


def test_without_anybody_to_tell_it_says_so(run, settings):
    settings.ADMINS = []

    with pytest.raises(CommandError, match="ALERT_EMAILS"):
        run("check_health", "--mail")


def test_a_receiver_that_fails_keeps_nobody_from_being_told(run):
    SigningKey.objects.all().delete()

    def fail(**arguments):
        raise ImproperlyConfigured("the pager is not configured")

    signals.alert_raised.connect(fail)
    try:
        run("check_health", "--mail")
    finally:
        signals.alert_raised.disconnect(fail)

    # Django itself writes to ADMINS about the receiver.
    assert sum("Token service" in subject for subject in subjects()) == 1


def test_without_the_audit_trail_it_says_what_it_does_not_see(run, errors, settings):
    settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, "AUDIT_TRAIL": False}

    assert run("check_health") == "Nothing needs attention.\n"
    assert "AUDIT_TRAIL is off" in errors.getvalue()


def test_as_json(run_json):
    assert run_json("check_health") == {"alerts": []}


def test_what_happened_in_the_quiet_time_is_in_the_next_e_mail(run):
    events(1, REUSE, client_id="app", ago=timedelta(minutes=63))
    run("check_health", "--mail", "--within", "2h")
    SecurityEvent.objects.filter(event=EventType.ALERTED).update(at=timezone.now() - timedelta(minutes=62))
    events(3, REUSE, client_id="app", ago=timedelta(minutes=30))

    run("check_health", "--mail")

    assert "3 times: app (3)." in mail.outbox[-1].body
    assert len(mail.outbox) == 2


def test_what_happens_while_the_e_mail_is_sent_is_in_the_next_one(run, monkeypatch):
    events(1, REUSE, client_id="app")
    send = EmailMessage.send

    def slow(self):
        events(2, REUSE, client_id="late", ago=timedelta(0))
        return send(self)

    monkeypatch.setattr(EmailMessage, "send", slow)
    run("check_health", "--mail")
    monkeypatch.undo()
    SecurityEvent.objects.update(at=F("at") - timedelta(minutes=62))

    run("check_health", "--mail", "--within", "2h")

    assert "2 times: late (2)." in mail.outbox[-1].body
