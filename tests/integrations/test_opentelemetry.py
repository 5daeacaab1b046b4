"""Metrics, read from the real SDK of OpenTelemetry."""

from __future__ import annotations

import builtins
import json
import re
from pathlib import Path

import pytest

from django_ciam_token import signals
from django_ciam_token.api import revoke_sessions
from django_ciam_token.integrations import opentelemetry as integration
from django_ciam_token.integrations.opentelemetry import Instruments
from django_ciam_token.sessions.criteria import SessionCriteria
from tests.conftest import post_form
from tests.factories import ClientFactory

metrics = pytest.importorskip("opentelemetry.sdk.metrics", reason="needs the package opentelemetry-sdk")
export = pytest.importorskip("opentelemetry.sdk.metrics.export")

pytestmark = pytest.mark.django_db

# Most signals are sent after a COMMIT.
after_commit = pytest.mark.django_db(transaction=True)

DASHBOARD = Path(__file__).resolve().parents[2] / "docs" / "grafana.json"


class Measured:
    """What was measured so far."""

    def __init__(self, reader):
        self.reader = reader

    def all(self):
        data = self.reader.get_metrics_data()
        resources = [] if data is None else data.resource_metrics
        return [metric for one in resources for scope in one.scope_metrics for metric in scope.metrics]

    def points(self, name):
        """The attributes of each time series, with its value or count."""
        found = [metric for metric in self.all() if metric.name == name]
        points = [point for metric in found for point in metric.data.data_points]
        return {
            tuple(sorted(point.attributes.items())): getattr(point, "value", None) or point.count
            for point in points
        }


@pytest.fixture
def measured():
    reader = export.InMemoryMetricReader()
    provider = metrics.MeterProvider(metric_readers=[reader])
    Instruments(provider.get_meter("test")).connect()
    yield Measured(reader)
    provider.shutdown()
    Instruments.disconnect()
    integration.connect()


def attributes(**values):
    return tuple(sorted(values.items()))


def form_of(client, tokens, **others):
    form = {
        "grant_type": "refresh_token",
        "client_id": client.client_id,
        "client_secret": client.plain_secret,
    }
    return {**form, "refresh_token": tokens["refresh_token"], **others}


def test_a_refresh_is_counted_by_client_grant_and_outcome_and_its_time_is_taken(
    measured, web_client, first_tokens
):
    assert post_form(form_of(web_client, first_tokens)).status_code == 200
    assert post_form(form_of(web_client, first_tokens, refresh_token="x")).status_code == 400
    assert post_form(form_of(web_client, first_tokens, client_secret="x")).status_code == 401

    client, grant = web_client.client_id, "refresh_token"
    assert measured.points("ciam_token.requests") == {
        attributes(client_id=client, grant_type=grant, outcome=outcome): 1
        for outcome in ("issued", "invalid_grant", "invalid_client")
    }
    times = measured.points("ciam_token.request.duration")
    assert times == {
        attributes(grant_type=grant, outcome=outcome): 1
        for outcome in ("issued", "invalid_grant", "invalid_client")
    }
    [metric] = [metric for metric in measured.all() if metric.name == "ciam_token.request.duration"]
    assert metric.unit == "s"
    assert all(0 < point.sum < 10 for point in metric.data.data_points)


@after_commit
def test_whatever_strangers_send_makes_one_time_series_for_each_outcome(measured):
    for number in range(5):
        post_form({"grant_type": f"made-up-{number}", "client_id": f"made-up-{number}"})
        post_form({"grant_type": "refresh_token", "refresh_token": "x", "client_id": f"made-up-{number}"})
        post_form({"nothing": str(number)})

    assert measured.points("ciam_token.requests") == {
        attributes(client_id="unknown", grant_type="unknown", outcome="unsupported_grant_type"): 5,
        attributes(client_id="unknown", grant_type="refresh_token", outcome="invalid_client"): 5,
        attributes(client_id="unknown", grant_type="unknown", outcome="invalid_request"): 5,
    }
    assert measured.points("ciam_token.client_authentication.failures") == {
        attributes(client_id="unknown", reason="unknown_client"): 5
    }


def test_past_some_number_of_clients_the_rest_is_one(measured, monkeypatch):
    monkeypatch.setattr(integration, "_MOST_CLIENTS", 2)
    clients = [ClientFactory(application_type="m2m") for _ in range(4)]
    for client in [*clients, *clients]:
        form = {"grant_type": "client_credentials", "client_id": client.client_id}
        assert post_form({**form, "client_secret": client.plain_secret}).status_code == 200

    series = measured.points("ciam_token.requests")

    names = {dict(series_attributes)["client_id"]: count for series_attributes, count in series.items()}
    assert names == {clients[0].client_id: 2, clients[1].client_id: 2, "other": 4}


def test_a_server_error_and_a_throttled_request_have_outcomes_of_their_own(
    measured, web_client, first_tokens, settings
):
    def fail(**arguments):
        raise RuntimeError("a function of the site failed")

    settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, "ACCESS_TOKEN_CLAIMS": fail, "FAILURES_PER_MINUTE": 1}
    assert post_form(form_of(web_client, first_tokens)).status_code == 500
    post_form(form_of(web_client, first_tokens, client_secret="x"))
    assert post_form(form_of(web_client, first_tokens, client_secret="x")).status_code == 429

    outcomes = {dict(found)["outcome"] for found in measured.points("ciam_token.requests")}
    assert outcomes == {"server_error", "invalid_client", "throttled"}


@after_commit
def test_replays_reuse_and_ended_sessions_are_counted(measured, web_client, first_tokens, user):
    tokens = post_form(form_of(web_client, first_tokens)).json()
    assert post_form(form_of(web_client, first_tokens)).status_code == 200
    post_form(form_of(web_client, tokens))
    assert post_form(form_of(web_client, first_tokens)).status_code == 400

    client = attributes(client_id=web_client.client_id)
    assert measured.points("ciam_token.replays") == {client: 1}
    assert measured.points("ciam_token.reuse") == {client: 1}
    assert measured.points("ciam_token.sessions.ended") == {attributes(reason="reuse"): 1}


@after_commit
def test_a_reason_that_the_site_invents_is_no_time_series_of_its_own(measured, first_tokens, user):
    revoke_sessions(SessionCriteria(user=user), reason="because-7f3a")

    assert measured.points("ciam_token.sessions.ended") == {attributes(reason="other"): 1}


def test_metrics_make_no_statement(measured, web_client, first_tokens, django_assert_num_queries):
    """As many as without them."""
    with django_assert_num_queries(4) as with_metrics:
        tokens = post_form(form_of(web_client, first_tokens)).json()
    Instruments.disconnect()
    with django_assert_num_queries(len(with_metrics)):
        post_form(form_of(web_client, tokens))


def test_the_application_connects_instruments_that_find_a_provider_configured_later(web_client, first_tokens):
    from opentelemetry import metrics as api

    integration.connect()
    reader = export.InMemoryMetricReader()
    api.set_meter_provider(metrics.MeterProvider(metric_readers=[reader]))

    post_form(form_of(web_client, first_tokens))

    assert len(Measured(reader).points("ciam_token.requests")) == 1


def prometheus_names(metric):
    """The names under which the Prometheus exporters show a metric."""
    name = metric.name.replace(".", "_") + ("_seconds" if metric.unit == "s" else "")
    if type(metric.data).__name__ == "Histogram":
        return {f"{name}_{suffix}" for suffix in ("bucket", "count", "sum")}
    return {f"{name}_total"}


@after_commit
def test_the_dashboard_names_metrics_and_attributes_that_exist(measured, web_client, first_tokens):
    for _ in range(2):
        tokens = post_form(form_of(web_client, first_tokens)).json()
    post_form(form_of(web_client, tokens))
    post_form(form_of(web_client, first_tokens))
    post_form(form_of(web_client, first_tokens, client_secret="x"))
    existing = {name: metric for metric in measured.all() for name in prometheus_names(metric)}
    dashboard = json.loads(DASHBOARD.read_text())

    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    queries = [
        variable["query"]["query"] for variable in dashboard["templating"]["list"] if "refresh" in variable
    ]
    named = set(re.findall(r"ciam_token_\w+", " ".join([*expressions, *queries])))

    assert named
    assert named <= existing.keys()
    assert {metric.name for name, metric in existing.items() if name in named} == {
        metric.name for metric in existing.values()
    }
    for expression in expressions:
        of_metrics = [existing[name] for name in re.findall(r"ciam_token_\w+", expression)]
        known = {
            key for metric in of_metrics for point in metric.data.data_points for key in point.attributes
        }
        grouped = re.findall(r"by \(([^)]*)\)", expression)
        used = {name.strip() for names in grouped for name in names.split(",")}
        used |= set(re.findall(r"(\w+)=~?\"", expression))
        assert used <= known | {"le"}, expression


def test_without_the_package_nothing_listens_and_nothing_is_measured(
    monkeypatch, web_client, first_tokens, traces
):
    Instruments.disconnect()
    original = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name.partition(".")[0] == "opentelemetry":
            raise ImportError(name)
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    integration.connect()
    monkeypatch.undo()
    signals.token_request_answered.disconnect(dispatch_uid="traces")

    assert not signals.token_request_answered.receivers
    assert post_form(form_of(web_client, first_tokens)).status_code == 200
    assert traces.of(signals.token_request_answered) == []
    integration.connect()
