"""Template tags of the admin pages."""

from __future__ import annotations

from typing import Any, Final

from django import template
from django.template import Context
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.formats import number_format
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

register = template.Library()

_PLAIN_FILTER: Final = "admin/filter.html"


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


@register.simple_tag
def ciam_filter(cl: Any, spec: Any) -> SafeString:
    """Show a filter of a list as a menu that opens without a script.

    A filter with a template of its own is shown by that.
    """
    choices = list(spec.choices(cl))
    context = {"title": spec.title, "choices": choices, "spec": spec, "cl": cl}
    if hasattr(spec, "other_parameters"):
        context["others"] = spec.other_parameters(cl)
    is_plain = spec.template == _PLAIN_FILTER or spec.template.startswith("unfold/")
    if not is_plain:
        return render_to_string(spec.template, context)
    chosen = next((choice for choice in choices if choice["selected"]), None)
    active = chosen is not None and chosen is not choices[0]
    context |= {"chosen": chosen["display"] if chosen else "…", "is_active": active}
    return render_to_string("admin/django_ciam_token/filter.html", context)


@register.simple_tag
def ciam_result_count(cl: Any) -> str:
    """Return how many rows a list has, in words; of a list that ends after a limit, that there are more."""
    number = number_format(cl.result_count, force_grouping=True)
    name = cl.opts.verbose_name if cl.result_count == 1 else cl.opts.verbose_name_plural
    if getattr(cl.paginator, "has_more", False):
        return _("more than %(number)s %(name)s") % {"number": number, "name": name}
    return f"{number} {name}"
