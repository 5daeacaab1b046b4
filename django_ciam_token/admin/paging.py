"""Lists that read a limited number of rows, however large their table is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from django.conf import settings
from django.core.paginator import Page, Paginator
from django.db.models import QuerySet
from django.utils.functional import cached_property
from django.utils.translation import gettext as _

if TYPE_CHECKING:
    _Paginator = Paginator[Any]
else:
    _Paginator = Paginator

MOST_SHOWN: Final = 1_000
"""How many rows a list shows at most. Nobody reads more pages than that."""
WINDOW: Final = 50_000
"""A search without an index looks only at this many of the newest rows."""

# Fields of a confirmation besides the keys of the selected rows.
_OTHER_FIELDS: Final = 20


def most_selected() -> int:
    """Return how many rows an action accepts. Each is a form field, and Django limits their number."""
    most = settings.DATA_UPLOAD_MAX_NUMBER_FIELDS
    return MOST_SHOWN if most is None else max(1, min(MOST_SHOWN, most - _OTHER_FIELDS))


def cut_off(chosen: list[Any], most: int) -> list[str]:
    """Shorten a list to what one action accepts; return a message about that if it was too long."""
    if len(chosen) <= most:
        return []
    del chosen[most:]
    return [_("You selected more than one form can hold. Repeat the action for the rest.")]


class BoundedPaginator(_Paginator):
    """Pages of the newest rows up to a limit. Never counts the table."""

    newest_first: tuple[str, ...] = ("-pk",)

    @cached_property
    def _found(self) -> list[Any]:
        # One more than is shown says whether there are more.
        rows: Any = self.object_list
        return list(rows.order_by(*self.newest_first).values_list("pk", flat=True)[: MOST_SHOWN + 1])

    @property
    def keys(self) -> list[Any]:
        """Return the keys of all rows that the pages show."""
        return self._found[:MOST_SHOWN]

    @property
    def has_more(self) -> bool:
        """Tell whether there are more rows than the pages show."""
        return len(self._found) > MOST_SHOWN

    @cached_property
    def count(self) -> int:
        """Return how many rows the pages show."""
        return min(len(self._found), MOST_SHOWN)

    def page(self, number: int | str) -> Page[Any]:
        """Return a page. Its rows are read by key, so that no page scans the table again."""
        number = self.validate_number(number)
        first = (number - 1) * self.per_page
        rows: Any = self.object_list
        found = rows.model._default_manager.using(rows.db).filter(
            pk__in=self.keys[first : first + self.per_page]
        )
        found.query.select_related = rows.query.select_related
        return Page(found.order_by(*self.newest_first), number, self)


def newest(rows: QuerySet[Any]) -> QuerySet[Any]:
    """Return the newest of these rows, at most `WINDOW`. Keys ascend with time."""
    oldest = rows.order_by("-pk").values_list("pk", flat=True)[WINDOW - 1 : WINDOW].first()
    return rows if oldest is None else rows.filter(pk__gte=oldest)
