"""Whether anybody can see why requests are refused."""

from __future__ import annotations

import logging
from typing import Any

from django.core.checks import CheckMessage, Info


def check_logs(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Say so if the reasons of refusals go nowhere, as they do with Django's default LOGGING."""
    logger = logging.getLogger("django_ciam_token")
    if logger.isEnabledFor(logging.INFO) and logger.hasHandlers():
        return []
    return [
        Info(
            "The reasons why requests are refused are not logged: they have the level INFO, which no handler "
            "gets.",
            hint="Add the logger to LOGGING['loggers']: "
            "'django_ciam_token': {'handlers': ['console'], 'level': 'INFO'}",
            id="django_ciam_token.I001",
        )
    ]
