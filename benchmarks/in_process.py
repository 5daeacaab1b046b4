"""One site in a process of its own that answers requests without a server in front, and says what they cost.

    python -m benchmarks.in_process SITE MODULE [SESSIONS]

MODULE is one of the site's: its URLs, and the requests by what they measure. It reads lines of
JSON, ``["checked", 300]``, and answers each with the CPU time and the time of so many requests. Without
sockets, what differs between the sites is not lost among what they share.
"""

from __future__ import annotations

import gc
import importlib
import io
import itertools
import json
import sys
import time
from collections.abc import Iterator
from typing import Any

WARM = 200


def bearer(token: str) -> dict[str, str]:
    """Return what a request with an access token has in its environment."""
    return {"HTTP_AUTHORIZATION": f"Bearer {token}"}


def main(site: str, module: str, sessions: str = "0") -> None:
    """Prepare the site, and measure whatever is asked for."""
    import django
    from django.conf import settings

    settings.ROOT_URLCONF = f"benchmarks.sites.{site}.{module}"
    django.setup()
    from django.core.handlers.wsgi import WSGIHandler
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    targets = importlib.import_module(settings.ROOT_URLCONF).targets(int(sessions))
    handler = WSGIHandler()
    for target in targets.values():
        send(handler, environments(target, WARM))
    print(json.dumps({name: queries(handler, target) for name, target in targets.items()}), flush=True)
    for line in sys.stdin:
        name, number = json.loads(line)
        print(json.dumps(measure(handler, targets[name], number)), flush=True)


def measure(handler: Any, target: dict[str, Any], number: int) -> dict[str, float]:
    """Return CPU time and time of one request, in seconds."""
    requests = environments(target, number)
    gc.collect()
    cpu, begun = time.process_time(), time.perf_counter()
    send(handler, requests)
    return {"cpu": (time.process_time() - cpu) / number, "time": (time.perf_counter() - begun) / number}


def queries(handler: Any, target: dict[str, Any]) -> int:
    """Count the statements of a request."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    # Making the request may itself write, such as a code to exchange.
    requests = environments(target, 1)
    with CaptureQueriesContext(connection) as captured:
        send(handler, requests)
    return len(captured)


def environments(target: dict[str, Any], number: int) -> list[dict[str, Any]]:
    """Return the WSGI environments of requests."""
    fresh = target.get("fresh")
    headers: Iterator[dict[str, str]] = itertools.cycle(
        fresh(number) if fresh else target.get("headers", [{}])
    )
    fresh_forms = target.get("fresh_forms")
    forms = itertools.cycle(fresh_forms(number) if fresh_forms else target.get("forms", [""]))
    return [
        {
            "REQUEST_METHOD": "POST" if form else "GET",
            "PATH_INFO": target["path"],
            "QUERY_STRING": "",
            "SERVER_NAME": "127.0.0.1",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "127.0.0.1",
            "HTTP_HOST": "127.0.0.1",
            "CONTENT_LENGTH": str(len(form)),
            "CONTENT_TYPE": "application/x-www-form-urlencoded" if form else "",
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(form.encode()),
            "wsgi.errors": sys.stderr,
            **header,
        }
        for header, form in zip(itertools.islice(headers, number), forms, strict=False)
    ]


def send(handler: Any, requests: list[dict[str, Any]]) -> None:
    """Let the site answer requests."""
    statuses: list[str] = []
    for environment in requests:
        response = handler(environment, lambda status, headers: statuses.append(status))
        body = b"".join(response)
        response.close()
        if not statuses.pop().startswith("200") or b'"active": false' in body or b'"active":false' in body:
            raise RuntimeError(f"{environment['PATH_INFO']}: {body[:500]!r}")


if __name__ == "__main__":
    main(*sys.argv[1:])
