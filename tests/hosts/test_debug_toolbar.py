"""What the real django-debug-toolbar records, with DEBUG off."""

from __future__ import annotations

import pytest

from tests.hosts.sites import require, run


@pytest.fixture(scope="module")
def passed(tmp_path_factory):
    require("debug_toolbar")
    return run("toolbar", f"sqlite:///{tmp_path_factory.mktemp('toolbar')}/db.sqlite3")


@pytest.mark.parametrize("scenario", ["every_request_shows_its_own_queries", "no_panel_goes_on_collecting"])
def test_the_toolbar_sees_every_refresh(passed, scenario):
    assert scenario in passed
