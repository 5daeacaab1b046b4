from __future__ import annotations

import pytest

from django_ciam_token.admin import user_agents

pytestmark = pytest.mark.django_db

WINDOWS = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "


@pytest.mark.parametrize(
    ("header", "text"),
    [
        (WINDOWS + "Chrome/130.0.0.0 Safari/537.36", "Chrome 130 · Windows"),
        (WINDOWS + "Chrome/130.0.0.0 Safari/537.36 Edg/130.0.2849.46", "Edge 130 · Windows"),
        (IPHONE + "Version/18.1 Mobile/15E148 Safari/604.1", "Safari 18 · iPhone"),
        (IPHONE + "CriOS/130.0.6723.90 Mobile/15E148 Safari/604.1", "Chrome 130 · iPhone"),
        ("Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0", "Firefox 132 · Linux"),
        ("okhttp/4.12.0", "okhttp 4.12"),
        ("Portal/3.2.1 CFNetwork/1568 Darwin/24.1.0", "Portal 3.2 · macOS"),
        ("Mozilla/5.0", "Mozilla/5.0"),
        ("", "unknown"),
        ("?" * 200, "?" * 40),
    ],
)
def test_a_user_agent_is_described_in_a_few_words(header, text):
    assert user_agents.describe(header) == text
