from __future__ import annotations

import os

import pytest

# These tests need the other packages among the installed apps, and so settings of their own.
if os.environ.get("DJANGO_SETTINGS_MODULE") != "tests.migration.settings":
    collect_ignore_glob = ["test_*.py"]
else:
    from tests.migration.packages import PACKAGES, Site

    @pytest.fixture(params=PACKAGES)
    def package(request):
        """Each of the other packages; it must say that it is usable here."""
        return request.param()

    @pytest.fixture
    def site(live_server):
        """The site, over real HTTP."""
        return Site(live_server.url)
