"""The example project's settings for the faults; `tests.faults.site` sets the rest in the environment."""

import json
import os
from pathlib import Path
from typing import Any

from config.settings import *  # noqa: F403
from config.settings import CIAM_TOKEN, DATABASES, LOGGING

_chosen: dict[str, Any] = json.loads(os.environ["FAULTS"])

# Read from a file, so that a host that reloads finds secrets that were rotated in the meantime.
SECRET_KEY, *SECRET_KEY_FALLBACKS = json.loads(Path(_chosen["secrets"]).read_text())

DATABASES["default"].update(_chosen["database"])
DATABASES["default"]["OPTIONS"] = {**DATABASES["default"].get("OPTIONS", {}), **_chosen["options"]}
# The cheapest signatures: their cost is not what these tests are about.
CIAM_TOKEN.update({"SIGNING_ALGORITHM": "ES256", **_chosen["ciam_token"]})
# The answer to an exchange may be lost like that to a refresh. And a code has to live until its turn comes.
CIAM_TOKEN["AUTHORIZATION_CODE_GRACE_PERIOD"] = CIAM_TOKEN.get("REFRESH_TOKEN_GRACE_PERIOD", 30)
CIAM_TOKEN["AUTHORIZATION_CODE_LIFETIME"] = 600
LOGGING["loggers"]["django_ciam_token"]["level"] = "WARNING"
