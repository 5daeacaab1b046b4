"""Runs the statements of many refreshes in this process: those of the grant, with the grant's own code.

    python -m benchmarks.churning TARGET REFRESHES HALF
    python -m benchmarks.churning TARGET collect HALF

HALF is 0 or 1 and says which half of the sessions to refresh. The tokens that are current at the end are
written to a file next to TARGET, and ``collect`` puts them into TARGET.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main(path: str, refreshes: str, half: str) -> None:
    """Refresh, or collect what was refreshed."""
    target, number = Path(path), int(half)
    beside = target.with_suffix(f".{number}")
    if refreshes == "collect":
        content = json.loads(target.read_text())
        content["tokens"][number::2] = json.loads(beside.read_text())
        target.write_text(json.dumps(content))
        return
    tokens = json.loads(target.read_text())["tokens"][number::2]
    beside.write_text(json.dumps(refreshed(tokens, int(refreshes) // 2)))


def refreshed(tokens: list[str], count: int) -> list[str]:
    """Refresh one token after the other, in turn, and return the current ones."""
    import django

    django.setup()
    from django.utils import timezone

    from django_ciam_token.caller import Caller
    from django_ciam_token.crypto import refresh_token_string, site_keys
    from django_ciam_token.database.routing import write_database
    from django_ciam_token.models import RefreshToken
    from django_ciam_token.sessions.rotation import prepare_rotation, rotate
    from django_ciam_token.sessions.rows import read_client
    from django_ciam_token.sessions.verdict import Verdict, judge

    keys, using = site_keys.token_keys(), write_database(RefreshToken)
    caller = Caller(address="192.0.2.1", user_agent="benchmark")
    for turn in range(count):
        place, now = turn % len(tokens), timezone.now()
        presented = refresh_token_string.authenticate(tokens[place], keys)
        found = read_client("portal", using=using, session_id=presented.session_id)
        assert found is not None
        assert found.session is not None
        session = found.session.session
        verdict = judge(found.session, presented, client=found.client, now=now)
        assert verdict is Verdict.ROTATE
        rotation = prepare_rotation(presented, key=keys[0])
        assert rotate(session, rotation, client=found.client, caller=caller, now=now, using=using)
        tokens[place] = refresh_token_string.encode(rotation.successor, keys[0])
        if turn % 100_000 == 99_999:
            print(f"  {turn + 1:,} of {count:,} refreshes", flush=True)
    return tokens


if __name__ == "__main__":
    main(*sys.argv[1:])
