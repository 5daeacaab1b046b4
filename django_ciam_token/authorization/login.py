"""Who signed in and when, and whether that was recently enough.

The site signs people in, with whatever it has for that. Here only the moment is kept, in the Django session.
"""

from __future__ import annotations

import hmac
import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from datetime import timezone as datetime_timezone
from typing import Any, Final

from django.conf import settings
from django.contrib.auth.signals import user_logged_in
from django.http import HttpRequest
from django.utils import timezone

from django_ciam_token.authorization.request import AuthorizationRequest
from django_ciam_token.crypto import site_keys

_KEY: Final = "django_ciam_token_login"
_MOMENTS_KEPT: Final = 20
_ANONYMOUS: Final = "-"
LONGEST_LOGIN: Final = timedelta(hours=1)
"""How long a person may take on the login page."""
# The clocks of the host that sent somebody to the login page, and of the one where they signed in.
_CLOCKS_DIFFER_BY: Final = 5
_PREFIX: Final = "ciam_login_"
_OTHER_MARKS_KEPT: Final = 9
_MARK: Final = re.compile(r"([0-9]{1,12})\.([0-9a-f]{16}|-?)\.([0-9a-f]{64})")


@dataclass(frozen=True)
class Login:
    """The latest login of a Django session."""

    identifier: str
    """Drawn at each login; empty if nobody told when it was."""
    moments: tuple[int, ...]
    """When this user signed in within this Django session, in seconds since the epoch; the latest first."""

    @property
    def auth_time(self) -> datetime:
        """When the user proved who they are (OpenID Connect Core §2)."""
        zone = datetime_timezone.utc if settings.USE_TZ else None
        return datetime.fromtimestamp(self.moments[0], tz=zone)


def connect() -> None:
    """Listen to logins."""
    user_logged_in.connect(_remember, dispatch_uid="django_ciam_token.authorization.login")


def _remember(sender: Any, request: HttpRequest | None = None, **kwargs: Any) -> None:
    """Keep the moment of a login; a login as somebody else has emptied the session before."""
    session: Any = getattr(request, "session", None)
    if session is not None:
        earlier = session.get(_KEY, {}).get("at", [])
        moment = int(timezone.now().timestamp())
        session[_KEY] = {"id": secrets.token_hex(8), "at": [moment, *earlier][:_MOMENTS_KEPT]}


def login_of(http: HttpRequest) -> Login:
    """Return the login of the user who is signed in.

    One that is not on record was before this app was installed, or is of a kind that sends no
    ``user_logged_in``: a proxy that authenticates each request. The user's ``last_login`` is then the best
    answer.
    """
    kept = http.session.get(_KEY)
    if kept is not None:
        return Login(identifier=kept["id"], moments=tuple(kept["at"]))
    moment: datetime = getattr(http.user, "last_login", None) or timezone.now()
    return Login(identifier="", moments=(int(moment.timestamp()),))


def must_be_fresh(request: AuthorizationRequest, login: Login, *, now: datetime) -> bool:
    """Tell whether the user must sign in again, after the request came (OpenID Connect Core §3.1.2.1)."""
    if request.prompt & {"login", "select_account"}:
        return True
    if request.max_age is None:
        return False
    return request.max_age == 0 or now.timestamp() - login.moments[0] > request.max_age


# The mark: a cookie, one for each request that needs a fresh login. Not something in the Django session: that
# is emptied if somebody else signs in, as `prompt=select_account` is there for. One for each, so that two
# requests that begin at the same time don't overwrite each other's. It says which login there was before, so
# going back to the request without another one is noticed. It is removed when the request is answered.


def needs_mark(request: AuthorizationRequest) -> bool:
    """Tell whether it may matter that the user signs in after the request came."""
    return request.max_age is not None or bool(request.prompt & {"login", "select_account"})


def cookie_name(request: AuthorizationRequest) -> str:
    """Return the name of the cookie with the mark of a request."""
    return f"{_PREFIX}{request.fingerprint().hex()[:16]}"


def new_mark(request: AuthorizationRequest, login: Login | None, *, now: datetime) -> str:
    """Return the mark of a request whose user is sent to the login page.

    Args:
        request: the request.
        login: the present login; None if nobody is signed in.
        now: the present.
    """
    asked_at, before = int(now.timestamp()), _ANONYMOUS if login is None else login.identifier
    mac = site_keys.mac(_message(request, asked_at, before), purpose=site_keys.FRESH_LOGIN)
    return f"{asked_at}.{before}.{mac.hex()}"


def marks_to_forget(http: HttpRequest, request: AuthorizationRequest) -> list[str]:
    """Return the names of the cookies that have to go if a browser gets the mark of another request.

    Another site can send a browser here as often as it likes. Some hundred cookies would make the header too
    long for servers, and nobody could sign in before they have expired. So the oldest ones go.
    """
    others = {name for name in http.COOKIES if name.startswith(_PREFIX)} - {cookie_name(request)}
    # A mark begins with the moment at which it was made.
    return sorted(others, key=lambda name: (http.COOKIES[name], name), reverse=True)[_OTHER_MARKS_KEPT:]


@dataclass(frozen=True)
class Mark:
    """That somebody was sent to the login page with this request."""

    asked_at: int
    before: str
    """The identifier of the login that there was then."""

    def is_satisfied_by(self, login: Login) -> bool:
        """Tell whether the user has signed in since."""
        if not login.identifier:
            return self.before == _ANONYMOUS
        return login.identifier != self.before and login.moments[0] >= self.asked_at - _CLOCKS_DIFFER_BY


def read_mark(http: HttpRequest, request: AuthorizationRequest, *, now: datetime) -> Mark | None:
    """Return the mark of a request; None if its user was not sent to the login page, or long ago."""
    match = _MARK.fullmatch(http.COOKIES.get(cookie_name(request), ""))
    if match is None:
        return None
    asked_at, before = int(match[1]), match[2]
    message, presented = _message(request, asked_at, before), bytes.fromhex(match[3])
    genuine = site_keys.macs(message, purpose=site_keys.FRESH_LOGIN)
    if not any(hmac.compare_digest(presented, mac) for mac in genuine):
        return None
    age = now.timestamp() - asked_at
    return Mark(asked_at=asked_at, before=before) if age <= LONGEST_LOGIN.total_seconds() else None


def _message(request: AuthorizationRequest, asked_at: int, before: str) -> bytes:
    return request.fingerprint() + f"{asked_at}.{before}".encode("ascii")
