"""Deleting clients, and their sessions with them."""

from __future__ import annotations

from typing import Any, Final

from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext as _

from django_ciam_token.admin.base import TokenAdmin
from django_ciam_token.caller import Caller
from django_ciam_token.clients.changes import report_deletion
from django_ciam_token.models import Client, ClientSecret, RefreshToken
from django_ciam_token.sessions.user import user_name

# Deleting a client deletes its sessions in the same request and transaction.
_MOST_SESSIONS: Final = 10_000


class ClientDeletionMixin(TokenAdmin):
    """Says what is deleted with a client, and refuses if that is too much for one request."""

    delete_confirmation_template = "admin/django_ciam_token/delete_client.html"

    def delete_model(self, request: HttpRequest, obj: Client) -> None:
        """Delete a client, and report it."""
        super().delete_model(request, obj)
        report_deletion(obj, actor=user_name(request.user), caller=Caller.of(request))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Client]) -> None:
        """Delete clients, and report each."""
        clients = list(queryset)
        super().delete_queryset(request, queryset)
        for client in clients:
            report_deletion(client, actor=user_name(request.user), caller=Caller.of(request))

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Count what is deleted with the clients: a list of every session would be as long as the table."""
        clients = list(objs)
        sessions = RefreshToken.objects.filter(client__in=clients).order_by()
        deleted = len(sessions.values_list("pk", flat=True)[: _MOST_SESSIONS + 1])
        count = {
            str(self.opts.verbose_name_plural): len(clients),
            str(RefreshToken._meta.verbose_name_plural): deleted,
        }
        if deleted > _MOST_SESSIONS:
            remedy = _(
                "There are too many sessions to delete at once. Disable the client and end its sessions. "
                "Delete it after purge_tokens has removed them (see ENDED_RETENTION)."
            )
            return [str(client) for client in clients], count, set(), [remedy]
        # Models of the site may refer to clients or sessions: Django checks those.
        _listed, others, lacking, protected = super().get_deleted_objects(clients, request)
        ours = {str(model._meta.verbose_name_plural) for model in (Client, ClientSecret, RefreshToken)}
        count.update({name: number for name, number in others.items() if str(name) not in ours})
        lacking = {str(name) for name in lacking}
        lacking -= {str(model._meta.verbose_name) for model in (ClientSecret, RefreshToken)}
        if deleted and not request.user.has_perm("django_ciam_token.delete_refreshtoken"):
            lacking.add(str(RefreshToken._meta.verbose_name))
        return [str(client) for client in clients], count, lacking, protected
