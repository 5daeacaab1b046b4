"""Lists as CSV: what the filters and the search have left, streamed, at most a fixed number of rows.

A cell that a spreadsheet would take for a formula is written with an apostrophe in front. Device names,
client_ids and addresses come from anyone who sends a request, and an export is opened by an operator.
"""

from __future__ import annotations

import csv
import logging
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from typing import Any, Final

from django.contrib.admin.options import IncorrectLookupParameters
from django.db.models import QuerySet
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponseNotAllowed,
    HttpResponseRedirect,
    StreamingHttpResponse,
)
from django.urls import URLPattern
from django.utils.timezone import now

from django_ciam_token.admin.base import ReadOnlyAdmin
from django_ciam_token.admin.csv_columns import Column
from django_ciam_token.caller import Caller
from django_ciam_token.database.local_time import local
from django_ciam_token.database.routing import write_database
from django_ciam_token.models import SecurityEvent
from django_ciam_token.sessions.user import user_name
from django_ciam_token.signals import rows_exported, send_after_commit

logger = logging.getLogger("django_ciam_token")

MOST_EXPORTED: Final = 100_000
"""How many rows an export has at most: the newest."""
_BATCH: Final = 1_000
# The last four are full-width forms, which some spreadsheets take for the same.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


class CsvExportMixin(ReadOnlyAdmin):
    """Exports the rows of a list, with a permission of its own. Each export is in the audit trail."""

    csv_columns: Sequence[Column] = ()

    def get_urls(self) -> list[URLPattern]:
        """Add the address that exports."""
        name = f"{self.opts.model_name}_export"
        return [self.route("export/", self.export_view, name), *super().get_urls()]

    def may_export(self, request: HttpRequest) -> bool:
        """Tell whether the operator may see the list, and also take it away."""
        return self.has_view_permission(request) and self.may(request, "export")

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the list, with a button that exports it."""
        context: dict[str, Any] = {}
        if self.may_export(request):
            query = request.GET.urlencode()
            context = {"export_url": f"{self.url(f'{self.opts.model_name}_export')}?{query}"}
        return super().changelist_view(request, {**context, **(extra_context or {})})

    def export_view(self, request: HttpRequest) -> HttpResponseBase:
        """Stream what the filters and the search of the list have left."""
        self.require(self.may_export(request))
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        try:
            rows: QuerySet[Any] = self.get_changelist_instance(request).queryset
        except IncorrectLookupParameters:
            return HttpResponseRedirect(self.url(f"{self.opts.model_name}_changelist"))
        actor = user_name(request.user)
        logger.info("%s exports %s", actor, self.opts.model_name, extra={"event": "rows_exported"})
        send_after_commit(
            rows_exported,
            sender=self.model,
            using=write_database(SecurityEvent),
            model=self.opts.model_name,
            query=request.GET.urlencode(),
            actor=actor,
            caller=Caller.of(request),
        )
        response = StreamingHttpResponse(
            _lines(rows, self.csv_columns), content_type="text/csv; charset=utf-8"
        )
        name = f"{self.opts.model_name}-{now():%Y%m%d-%H%M%S}.csv"
        response["Content-Disposition"] = f'attachment; filename="{name}"'
        return response


def safe(value: Any) -> str:
    """Return a cell that no spreadsheet takes for a formula. Instants are in UTC."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return local(value).astimezone(timezone.utc).isoformat(timespec="milliseconds")
    text = str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text


class _Echo:
    """A file for the writer of the csv module that hands each line back."""

    def write(self, line: str) -> str:
        return line


def _lines(rows: QuerySet[Any], columns: Sequence[Column]) -> Iterator[str]:
    writer: Any = csv.writer(_Echo(), quoting=csv.QUOTE_ALL)
    yield writer.writerow([name for name, _value in columns])
    for row in _newest(rows):
        yield writer.writerow([safe(value(row)) for _name, value in columns])


def _newest(rows: QuerySet[Any]) -> Iterator[Any]:
    """Read in batches by primary key: no cursor stays open while a slow client reads."""
    rows, left = rows.order_by("-pk"), MOST_EXPORTED
    batch = list(rows[: min(_BATCH, left)])
    while batch:
        yield from batch
        left -= len(batch)
        batch = list(rows.filter(pk__lt=batch[-1].pk)[: min(_BATCH, left)])
