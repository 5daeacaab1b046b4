from __future__ import annotations

import pytest

from django_ciam_token.authorization.parameters import parse
from django_ciam_token.views.pages import PageView


def test_a_page_of_a_site_must_have_an_answer(rf):
    with pytest.raises(NotImplementedError):
        PageView().respond(rf.get("/"), parse(b"", known=()), None)
