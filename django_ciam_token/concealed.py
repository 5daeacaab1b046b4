"""Keeping what a request proves itself with out of tracebacks.

When a function of the site raises, error trackers receive the variables of every frame: strings by value,
also those of a subclass of ``str``, and each item of every mapping. So no frame that waits for a function of
the site has a secret in a variable. The secret is in an object that such tools can only show by its repr.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Protocol, TypeVar, overload

T = TypeVar("T")

_SHOWN: Final = "<concealed>"


class Concealed:
    """A secret string whose repr shows nothing of it.

    Reveal it in an argument of the call that needs it, never into a variable.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    @classmethod
    def of(cls, text: str | Concealed) -> Concealed:
        """Conceal a string, unless it is concealed already."""
        return text if isinstance(text, Concealed) else cls(text)

    def reveal(self) -> str:
        """Return the string."""
        return self._text

    def lend(self, function: Callable[[str], T]) -> T:
        """Return what other people's code makes of the string.

        If it raises, the exception leaves without the frames and causes that hold the string.
        """
        try:
            return function(self._text)
        except Exception as error:  # noqa: BLE001 - it is raised again
            error.__context__ = error.__cause__ = None
            # Without the frames below: they are the ones that were given the string.
            raise error.with_traceback(None)  # noqa: B904 - it is the same exception

    def __repr__(self) -> str:
        return _SHOWN

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Concealed):
            return NotImplemented
        ours, theirs = (text.encode("utf-8", "surrogatepass") for text in (self._text, other._text))
        return hmac.compare_digest(ours, theirs)

    __hash__ = None  # type: ignore[assignment]


class Parameters(Protocol):
    """The parameters of a token request: what a `Form` and a dict of strings have in common."""

    def __contains__(self, name: object, /) -> bool:
        """Tell whether there is a parameter."""

    def __getitem__(self, name: str, /) -> str:
        """Return a parameter."""

    def __iter__(self) -> Iterator[str]:
        """Return the names."""

    @overload
    def get(self, name: str, /) -> str | None: ...

    @overload
    def get(self, name: str, default: str, /) -> str: ...


class Form:
    """Parameters that were parsed strictly: each was sent once, and none is empty.

    ``form["scope"]`` is a string. A form is not a `Mapping`: error trackers copy the items of mappings. The
    values of `items` are `Concealed`.
    """

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, str] | None = None) -> None:
        self._values: Final[dict[str, str]] = dict(values or {})

    def __contains__(self, name: object) -> bool:
        return name in self._values

    def __getitem__(self, name: str) -> str:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"<Form of {len(self._values)} parameters>"

    def __eq__(self, other: object) -> bool:
        return self._values == (other._values if isinstance(other, Form) else other)

    __hash__ = None  # type: ignore[assignment]

    @overload
    def get(self, name: str, /) -> str | None: ...

    @overload
    def get(self, name: str, default: str, /) -> str: ...

    def get(self, name: str, default: str | None = None, /) -> str | None:
        """Return a parameter, or the default if it was not sent."""
        return self._values.get(name, default)

    def keys(self) -> Iterator[str]:
        """Return the names. With `__getitem__`, this lets ``dict(form)`` reveal the whole form."""
        return iter(self._values)

    def items(self) -> Iterator[tuple[str, Concealed]]:
        """Return the names with their concealed values."""
        return ((name, Concealed(value)) for name, value in self._values.items())

    def copy(self) -> dict[str, Any]:
        """Return what Django's error reports copy: the names with their concealed values."""
        return dict(self.items())
