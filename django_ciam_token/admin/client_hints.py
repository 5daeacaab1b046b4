"""What to enter in the form of a client, for each type of application."""

from __future__ import annotations

from typing import Final

from django.utils.functional import Promise
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from django_ciam_token.models import ApplicationType

_CALLBACK: Final = _("The address on your server that receives the code: https://app.example.com/callback.")
_PAGE: Final = _(
    "The page that receives the code: https://app.example.com/callback, and http://localhost:5173/callback "
    "while you develop."
)
_SCHEME: Final = _(
    "com.example.app:/callback, your domain in reverse; or https://app.example.com/callback, which opens the "
    "application. On a desktop http://127.0.0.1/callback, with any port."
)
_NO_ADDRESS: Final = _("Nothing: a machine signs nobody in.")
_NO_ORIGIN: Final = _("Nothing: it does not call from a browser.")
_ORIGIN: Final = _("The origin of its pages: https://app.example.com, without a path.")

_HINTS: Final[dict[str, dict[ApplicationType, str | Promise]]] = {
    "redirect_uris": {
        ApplicationType.WEB: _CALLBACK,
        ApplicationType.SPA: _PAGE,
        ApplicationType.MOBILE: _SCHEME,
        ApplicationType.M2M: _NO_ADDRESS,
    },
    "allowed_origins": {
        ApplicationType.WEB: _NO_ORIGIN,
        ApplicationType.SPA: _ORIGIN,
        ApplicationType.MOBILE: _NO_ORIGIN,
        ApplicationType.M2M: _NO_ORIGIN,
    },
}


def help_with_hints(field: str, text: str, application_type: str | None) -> SafeString:
    """Add to the help of a field what each type of application enters; the page shows the chosen type's.

    Args:
        field: its name.
        text: its help.
        application_type: of an existing client; None for a new one, whose type is chosen in the page.
    """
    hints = _HINTS.get(field, {})
    lines = (
        (type_.value, type_.label, hint)
        for type_, hint in hints.items()
        if application_type in (None, type_.value)
    )
    listed = format_html_join("", '<span class="ciam-hint" data-ciam-type="{}">{}: {}</span>', lines)
    return format_html("{} {}", text, listed)
