"""Template tags of the admin pages."""

from __future__ import annotations

from typing import Any

from django import template
from django.template import Context
from django.utils import timezone

register = template.Library()


@register.inclusion_tag("admin/django_ciam_token/overview.html", takes_context=True)
def ciam_overview(context: Context) -> dict[str, Any]:
    """Show the figures of the token service to operators who may see sessions."""
    request = context.get("request")
    user = getattr(request, "user", None)
    if user is None or not user.has_perm("django_ciam_token.view_refreshtoken"):
        return {"overview": None}
    # Django imports the tags of every app for any template, also where Django's admin is not installed.
    from django_ciam_token.admin.overview import overview

    return {"overview": overview(timezone.now()), "csp_nonce": context.get("csp_nonce")}
