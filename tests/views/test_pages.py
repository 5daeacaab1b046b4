from __future__ import annotations

import pytest

from django_ciam_token.authorization.parameters import parse
from django_ciam_token.views.pages import PageView


def test_a_page_of_a_site_must_have_an_answer(rf):
    with pytest.raises(NotImplementedError):
        PageView().respond(rf.get("/"), parse(b"", known=()), None)


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/oauth2/authorize", "/oauth2/logout"])
@pytest.mark.parametrize("method", ["put", "get", "head"])
@pytest.mark.parametrize("grants", [None, {}])
def test_no_request_that_django_logs_has_its_query(client, settings, caplog, path, method, grants):
    """What is refused before it was read is logged with the request, and the request with its address."""
    if grants is not None:
        settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, "GRANTS": grants}

    getattr(client, method)(f"{path}?id_token_hint=secret-token&redirect_uri=secret-token&x=%ff")

    logged = [repr(vars(record)) for record in caplog.records]
    assert not [text for text in logged if "secret-token" in text]
