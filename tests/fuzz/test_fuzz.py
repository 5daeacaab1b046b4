"""Sends a fifth of the inputs to the endpoints, and four fifths directly to their parsers."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from typing import Any

import pytest
import schemathesis
from django.conf import LazySettings
from drf_spectacular.generators import SchemaGenerator
from hypothesis import HealthCheck, Phase, given, seed
from hypothesis import settings as hypothesis_settings

from django_ciam_token.integrations import drf_spectacular
from django_ciam_token.views.base import EndpointView
from tests.fuzz.conftest import Target
from tests.fuzz.inputs import PATHS, requests
from tests.fuzz.wsgi import call

INPUTS = int(os.environ.get("CIAM_FUZZ_INPUTS") or 0)
SEED = int(os.environ.get("CIAM_FUZZ_SEED") or 1)
ENDPOINTS, OPENAPI, PARSERS = INPUTS * 15 // 100, INPUTS * 5 // 100, INPUTS * 80 // 100


def campaign(examples: int) -> Any:
    """Return Hypothesis settings for a long run that can be repeated."""
    return hypothesis_settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )


def check(status: int, path: str, body: bytes) -> None:
    """Assert that there was no internal error, and that no token was issued."""
    assert status < 500, body
    assert b"access_token" not in body
    if path == "/oauth2/token":
        assert status != 200, body
    if path == "/oauth2/introspect" and status == 200:
        assert body == b'{"active": false}'


def test_no_bad_request_breaks_an_endpoint_or_changes_anything(target: Target) -> None:
    answers: Counter[tuple[str, int]] = Counter()

    @seed(SEED)
    @campaign(ENDPOINTS)
    @given(requests(target))
    def attack(request: dict[str, Any]) -> None:
        status, body = call(target.application, **request)
        check(status, request["path"], body)
        answers[request["path"], status] += 1

    attack()

    print(
        json.dumps({f"{path} {status}": count for (path, status), count in sorted(answers.items())}, indent=1)
    )
    assert answers.total() >= ENDPOINTS


@pytest.mark.parametrize("path", PATHS)
def test_no_request_generated_from_the_openapi_description_breaks_its_endpoint(
    target: Target, path: str, settings: LazySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.REST_FRAMEWORK = {"DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema"}
    monkeypatch.setattr(EndpointView, "schema", None)
    drf_spectacular.describe(EndpointView)
    description = json.dumps(SchemaGenerator().get_schema(request=None, public=True)).encode()

    def application(environ: dict[str, Any], start_response: Any) -> Any:
        if environ["PATH_INFO"] == "/openapi.json":
            start_response("200 OK", [("Content-Type", "application/json")])
            return [description]
        return target.application(environ, start_response)

    schema = schemathesis.openapi.from_wsgi("/openapi.json", application)
    answers: Counter[int] = Counter()

    @seed(SEED)
    @campaign(OPENAPI // len(PATHS))
    @given(case=schema[path]["POST"].as_strategy())
    def attack(case: schemathesis.Case) -> None:
        answer = case.call()
        check(answer.status_code, path, answer.content)
        answers[answer.status_code] += 1

    attack()

    print(path, dict(answers))


def test_no_bytes_break_the_parsers_or_are_accepted_as_a_token() -> None:
    command = [
        sys.executable,
        "-m",
        "tests.fuzz.parsers",
        f"-atheris_runs={PARSERS}",
        f"-seed={SEED}",
        "-max_len=400",
        # It is a child of this process, and counts the memory of this process as its own.
        "-rss_limit_mb=0",
    ]

    finished = subprocess.run(command, capture_output=True, text=True, check=False, timeout=3600)

    print(finished.stderr[-300:])
    assert finished.returncode == 0, finished.stderr[-3000:]
    done = re.search(r"Done (\d+) (?:runs )?in|#(\d+)\s+DONE", finished.stderr)
    assert done is not None, finished.stderr[-3000:]
