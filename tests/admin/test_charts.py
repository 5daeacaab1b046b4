from __future__ import annotations

from datetime import datetime, timezone

import pytest

from django_ciam_token.admin import charts

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 3, 10, 12, tzinfo=timezone.utc)


def test_a_small_bar_is_visible_and_a_zero_is_a_line():
    chart = charts.chart("Refreshes", [0, 1, 10_000], last_day=NOW.date())

    assert [bar.height for bar in chart.bars] == [0.5, 2.0, 58.0]
    assert [bar.day.day for bar in chart.bars] == [8, 9, 10]
    assert (chart.total, chart.width) == (10_001, 30)
    assert charts.chart("Nothing", [], last_day=NOW.date()).bars == ()
