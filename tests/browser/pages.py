"""Every page of the product: the admin's, and those that people see who sign in and out.

`test_every_page.py` fails if there is an address or a template of a page that is not in these lists.
"""

from __future__ import annotations

from typing import Any, NamedTuple
from urllib.parse import urlencode

from django.urls import reverse

from django_ciam_token.models import Client, Consent, RefreshToken, SecurityEvent, SigningKey
from tests.browser.rows import CALLBACK
from tests.operators import url

LISTS = (
    "client_changelist",
    "refreshtoken_changelist",
    "consent_changelist",
    "securityevent_changelist",
    "signingkey_changelist",
)
# Like a form of the page itself, with its CSRF token.
SEND = """(fields) => {
    const form = document.createElement("form");
    form.method = "post";
    const token = document.querySelector("[name=csrfmiddlewaretoken]").value;
    for (const [name, values] of Object.entries({...fields, csrfmiddlewaretoken: [token]})) {
        for (const value of values) {
            const input = document.createElement("input");
            Object.assign(input, {type: "hidden", name: name, value: value});
            form.append(input);
        }
    }
    document.body.append(form);
    form.submit();
}"""


class Page(NamedTuple):
    """How to come to a page. JSON has it as a list."""

    address: str
    form: dict[str, list[str]] | None = None
    """What is sent from that address, if the page is the answer to that."""
    status: int = 200
    goes_on: bool = False
    """Whether it sends the browser elsewhere at once, and so is never loaded."""

    def visit(self, browser: Any) -> Any:
        """Go there, and return the response."""
        response = browser.goto(self.address, wait_until="commit" if self.goes_on else "load")
        if self.goes_on:
            browser.get_by_role("heading").wait_for()
        if self.form is not None:
            with browser.expect_navigation() as navigation:
                browser.evaluate(SEND, self.form)
            response = navigation.value
        return response


def selected(rows, action):
    """What the list sends for an action with some of its rows."""
    return {"action": [action], "_selected_action": [str(row.pk) for row in rows], "index": ["0"]}


def admin_pages(token: str) -> dict[str, Page]:
    """Return the pages of the product in the admin, by name.

    Args:
        token: what `fill` returned when it filled the site.
    """
    *_, client, lonely = Client.objects.order_by("pk")
    sessions = RefreshToken.objects.filter(revoked_at=None).order_by("-pk")
    session, consent = sessions[0], Consent.objects.last()
    nothing = urlencode({"q": "nobody", "state": "live"})
    plain = {
        "overview": reverse("admin:app_list", args=["django_ciam_token"]),
        **{name.removesuffix("_changelist") + "s": url(name) for name in LISTS},
        "sessions-nothing": f"{url('refreshtoken_changelist')}?{nothing}",
        "client": url("client_change", client.pk),
        "client-add": url("client_add"),
        "quick-start": url("client_new_secret", client.pk),
        "replace-secret": url("client_replace_secret", client.pk),
        "end-sessions": url("client_end_sessions", client.pk),
        "retire-secret": url("client_retire_secret", client.pk),
        "switch-client": url("client_switch", client.pk),
        "delete-client": url("client_delete", lonely.pk),
        "session": url("refreshtoken_change", session.pk),
        "find-by-token": url("refreshtoken_find_by_token"),
        "end-by-criteria": url("refreshtoken_end_by_criteria"),
        "session-end": url("refreshtoken_end", session.pk),
        "delete-session": url("refreshtoken_delete", session.pk),
        "consent": url("consent_change", consent.pk),
        "withdraw": url("consent_withdraw", consent.pk),
        "event": url("securityevent_change", SecurityEvent.objects.first().pk),
        "key": url("signingkey_change", SigningKey.objects.first().pk),
        "rotate": url("signingkey_rotate"),
        "plan-rotation": url("signingkey_plan_rotation"),
        "rotate-now": url("signingkey_rotate_now"),
        "remove-retired": url("signingkey_remove_retired"),
        "user": reverse("admin:auth_user_change", args=[session.user_id]),
        "sign-out": url("refreshtoken_sign_out", session.user_id),
    }
    clients = Client.objects.all()
    answers = {
        "client-add-refused": Page(url("client_add"), {"redirect_uris": ["nonsense"]}),
        "end-by-criteria-preview": Page(
            url("refreshtoken_end_by_criteria"), {"client": [client.client_id], "confirmed": ["yes"]}
        ),
        "inspected": Page(url("refreshtoken_find_by_token"), {"token": [token]}),
        "end-selected": Page(url("refreshtoken_changelist"), selected(sessions, "end_sessions")),
        "disable-selected": Page(url("client_changelist"), selected(clients, "disable")),
        "enable-selected": Page(url("client_changelist"), selected(clients, "enable")),
        "delete-selected": Page(url("client_changelist"), selected(clients, "delete_selected")),
        "withdraw-selected": Page(url("consent_changelist"), selected(Consent.objects.all(), "withdraw")),
        # Last, for it changes something: of the secrets that the client had, the last stays.
        "new-secret": Page(
            url("client_replace_secret", client.pk), {"overlap": ["3600"], "confirmed": ["yes"]}
        ),
    }
    return {**{name: Page(address) for name, address in plain.items()}, **answers}


def people_pages() -> dict[str, Page]:
    """Return the pages that people see who sign in and out, by name, for somebody who is signed in."""
    own, partner = Client.objects.get(name="Weather"), Client.objects.filter(asks_consent=True).last()
    authorize, logout = (reverse(f"django_ciam_token:{name}") for name in ("authorize", "logout"))

    def asking(client, **more):
        request = {
            "client_id": client.client_id,
            "redirect_uri": CALLBACK,
            "response_type": "code",
            "scope": "openid profile",
            "code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
            "code_challenge_method": "S256",
        }
        return f"{authorize}?{urlencode({**request, **more})}"

    return {
        "allow": Page(asking(partner)),
        "wrong": Page(f"{authorize}?client_id=nobody", status=400),
        "on-the-way-back": Page(asking(own, response_mode="form_post"), goes_on=True),
        "log-out": Page(f"{logout}?{urlencode({'client_id': own.client_id})}"),
        "still-signed-in": Page(logout, {"decision": ["deny"]}),
        # Last.
        "signed-out": Page(logout, {"decision": ["allow"]}),
    }
