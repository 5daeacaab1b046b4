"""The user of a request whose token was accepted without asking the database."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from django.db.models import Model
from django.utils.functional import SimpleLazyObject, empty

if TYPE_CHECKING:
    _Lazy = SimpleLazyObject[Any]
else:
    _Lazy = SimpleLazyObject


# Whether it is an expression is asked of every value in a query.
_OF_NO_USER: Final = frozenset(("resolve_expression", "get_source_expressions"))


class LazyUser(_Lazy):
    """A user who is read when somebody asks for more than the key.

    Args:
        read: reads the user; it raises if the token has ended meanwhile.
        model: the user model.
        pk: the key of the user; None if it is not known, nor whether it is a user at all.
    """

    def __init__(self, read: Callable[[], Any], *, model: type[Model], pk: object | None) -> None:
        known: dict[str, object] = {"is_authenticated": True, "is_anonymous": False}
        if pk is not None:
            field = model._meta.pk
            known |= {"pk": pk, field.name: pk, field.attname: pk}
            # What a query asks of its values.
            known |= {"_meta": model._meta, "_is_pk_set": lambda: True}
        self.__dict__["_known"] = known
        self.__dict__["_model"] = None if pk is None else model
        super().__init__(read)

    def __getattr__(self, name: str) -> Any:
        """Return what is known, or what the user has."""
        if self._wrapped is empty:
            if name in self.__dict__["_known"]:
                return self.__dict__["_known"][name]
            if name in _OF_NO_USER:
                raise AttributeError(name)
        return super().__getattr__(name)

    def __bool__(self) -> bool:
        """Return True: there is no request with a token and without a user."""
        return True

    @property  # type: ignore[misc]
    def __class__(self) -> type[Any]:
        """The user model, so that it can be compared, and be a value in a query, without reading it."""
        if self._wrapped is empty and self.__dict__["_model"] is not None:
            model: type[Model] = self.__dict__["_model"]
            return model
        if self._wrapped is empty:
            self._setup()
        found: type[Any] = self._wrapped.__class__
        return found

    def __eq__(self, other: object) -> bool:
        """Compare the keys, as Django does."""
        if self._wrapped is empty and self.__dict__["_model"] is not None:
            return bool(Model.__eq__(self, other))
        return bool(super().__eq__(other))

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        """Return that of the key, as Django does."""
        return hash(self.pk)

    def __repr__(self) -> str:
        return "<LazyUser, not read>" if self._wrapped is empty else f"<LazyUser: {self._wrapped!r}>"
