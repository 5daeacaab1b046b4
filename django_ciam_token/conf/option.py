"""One setting: reading it from the site's ``CIAM_TOKEN``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

if TYPE_CHECKING:
    from django_ciam_token.conf import Settings

T = TypeVar("T")


class Option(Generic[T]):
    """One member of ``CIAM_TOKEN``: its default and the parser that gives it its type.

    Reading it raises `ImproperlyConfigured` if the site's value has the wrong type.
    """

    def __init__(self, parse: Callable[[Any], T], *, default: Any) -> None:
        self.parse = parse
        self.default = default
        # The last value and what it was parsed to. A refresh reads settings about twenty times, and they
        # hardly ever change.
        self._parsed: tuple[Any, T] | None = None

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, instance: None, owner: type) -> Option[T]: ...
    @overload
    def __get__(self, instance: Settings, owner: type) -> T: ...
    def __get__(self, instance: Settings | None, owner: type) -> Option[T] | T:
        if instance is None:
            return self
        values = getattr(settings, "CIAM_TOKEN", None)
        value = (values if type(values) is dict else site_values()).get(self.name, self.default)
        parsed = self._parsed
        if parsed is not None and parsed[0] is value:
            return parsed[1]
        try:
            result = self.parse(value)
        except ValueError as error:
            raise ImproperlyConfigured(f"CIAM_TOKEN[{self.name!r}] {error}.") from error
        # Keep no value that can be changed in place, no object that a dotted path leads to, and no None
        # that stands for other settings.
        is_fixed = result is None if value is None else value is self.default
        if is_fixed or (isinstance(value, (str, int, float, timedelta)) and not callable(result)):
            self._parsed = value, result
        return result


def site_values() -> Mapping[str, Any]:
    """Return the site's ``CIAM_TOKEN`` as written.

    Raises:
        ImproperlyConfigured: it is not a dict.
    """
    values = getattr(settings, "CIAM_TOKEN", {})
    if isinstance(values, Mapping):
        return values
    raise ImproperlyConfigured("CIAM_TOKEN must be a dict of settings.")
