"""oauth4webapi (with jose) and openid-client, on Node.js, refresh tokens and verify them."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.served import TokenService

pytestmark = pytest.mark.clients


@pytest.mark.parametrize("script", ["oauth4webapi.mjs", "openid_client.mjs"])
@pytest.mark.parametrize(
    ("application_type", "method"),
    [
        ("web", "client_secret_basic"),
        ("web", "client_secret_post"),
        ("m2m", "client_secret_basic"),
        ("spa", "none"),
    ],
)
def test_a_node_library_refreshes_again_and_again(
    service: TokenService, node_project: Path, script: str, application_type: str, method: str
) -> None:
    client, first = service.first_tokens(application_type)
    given = client | {"issuer": service.base_url, "method": method, "tokens": first}

    finished = subprocess.run(
        ["node", script],
        cwd=node_project,
        input=json.dumps(given),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert finished.returncode == 0, finished.stderr
    assert json.loads(finished.stdout) == {"refreshed": 5, "wrong_token": "invalid_grant"}
