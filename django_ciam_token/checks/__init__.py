"""What ``manage.py check`` reports about the site. The ids are stable and listed in docs/reference/checks.md.

Those of signing keys are in `keys.key_checks`.
"""

from django.core import checks
from django.core.checks import Tags

from django_ciam_token.checks.addresses import check_discovery
from django_ciam_token.checks.logs import check_logs
from django_ciam_token.checks.pages import check_pages
from django_ciam_token.checks.settings import check_deployment, check_settings
from django_ciam_token.checks.tables import check_tables
from django_ciam_token.keys.key_checks import check_signing_keys

__all__ = [
    "check_deployment",
    "check_discovery",
    "check_logs",
    "check_pages",
    "check_settings",
    "check_signing_keys",
    "check_tables",
    "register",
]


def register() -> None:
    """Register the checks with Django."""
    checks.register(check_settings, Tags.security)
    checks.register(check_deployment, Tags.security, deploy=True)
    checks.register(check_pages, Tags.urls)
    checks.register(check_discovery, Tags.urls)
    # Not with each command of a site that is being developed.
    checks.register(check_logs, deploy=True)
    checks.register(check_signing_keys, Tags.database)
    checks.register(check_tables, Tags.database)
