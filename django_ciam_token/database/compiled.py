"""SQL that Django compiles once, to be run again and again with other values.

Building a queryset and compiling it to SQL costs several times as much as running it, and would take most
of the time of a refresh. The statements are still written as querysets: Django knows the columns, the
quoting and the types of every database, and a queryset is easy to read.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar, cast

from django.conf import settings
from django.db import connections
from django.db.models import Expression, Model, QuerySet
from django.db.models.sql import InsertQuery, UpdateQuery
from django.db.models.sql.compiler import SQLCompiler

from django_ciam_token.database.cursors import KeptCursors

M = TypeVar("M", bound=Model)


class Slot(Expression):
    """A placeholder for a value in a statement.

    Args:
        name: the name of the value when the statement is run.
        field: the field that converts the value; without one it goes to the driver as it is.
    """

    def __init__(self, name: str, field: Any = None) -> None:
        super().__init__()
        self.name = name
        self._field: Final = field

    def as_sql(self, compiler: SQLCompiler, connection: Any) -> Any:
        """Put this slot among the parameters, in place of a value."""
        return "%s", (self,)

    def converted(self, value: Any, connection: Any) -> Any:
        """Return the value as the driver gets it."""
        return value if self._field is None else self._field.get_db_prep_value(value, connection)


class _Saved(Slot):
    """A placeholder for the value of a field of a row that is saved."""

    def converted(self, value: Any, connection: Any) -> Any:
        """Return the value as the driver gets it; of a JSON field, None is NULL."""
        return self._field.get_db_prep_save(value, connection)


@dataclass(frozen=True)
class _Compiled:
    sql: str
    parameters: tuple[Any, ...]
    converted: tuple[tuple[int, Any], ...] = ()
    """The columns whose values Django converts on this database: positions and expressions."""

    def execute(self, cursor: Any, connection: Any, values: Mapping[str, Any]) -> None:
        cursor.execute(
            self.sql,
            [
                parameter.converted(values[parameter.name], connection)
                if isinstance(parameter, Slot)
                else parameter
                for parameter in self.parameters
            ],
        )


class _Statement(ABC):
    """A statement, with its SQL for each database that it has run on."""

    def __init__(self) -> None:
        self._made: dict[tuple[str, bool], _Compiled] = {}
        self._cursors: Final = KeptCursors()

    def _compiled(self, using: str) -> _Compiled:
        # USE_TZ decides whether times go to the database with a zone, and `override_settings` may change it.
        key = using, settings.USE_TZ
        compiled = self._made.get(key)
        if compiled is None:
            compiled = self._made[key] = self._compile(using)
        return compiled

    @abstractmethod
    def _compile(self, using: str) -> _Compiled:
        """Compile the SQL."""


class Select(_Statement):
    """A SELECT of some columns.

    Args:
        build: returns a queryset of tuples; it is called once for each database.
    """

    def __init__(self, build: Callable[[], QuerySet[Any, Any]]) -> None:
        super().__init__()
        self._build = build

    def rows(self, using: str, **values: Any) -> list[Sequence[Any]]:
        """Run it with these values for its slots, and return all rows."""
        connection, compiled = connections[using], self._compiled(using)
        with self._cursors.cursor(connection) as cursor:
            compiled.execute(cursor, connection, values)
            rows = cast("list[Sequence[Any]]", cursor.fetchall())
        if not compiled.converted:
            return rows
        converted = [list(row) for row in rows]
        for position, expression in compiled.converted:
            # Not kept, because a converter may keep its connection after the end of the thread.
            converters = connection.ops.get_db_converters(expression) + expression.get_db_converters(
                connection
            )
            for row in converted:
                for converter in converters:
                    row[position] = converter(row[position], expression, connection)
        return cast("list[Sequence[Any]]", converted)

    def _compile(self, using: str) -> _Compiled:
        compiler = self._build().query.get_compiler(using=using)
        sql, parameters = compiler.as_sql()
        converters = compiler.get_converters(column[0] for column in compiler.select)
        return _Compiled(
            sql=sql,
            parameters=tuple(parameters),
            converted=tuple((position, expression) for position, (_, expression) in converters.items()),
        )


class Update(_Statement):
    """An UPDATE of some rows.

    Args:
        build: returns the rows and the values to write; it is called once for each database.
    """

    def __init__(self, build: Callable[[], tuple[QuerySet[Any, Any], Mapping[str, Any]]]) -> None:
        super().__init__()
        self._build = build

    def run(self, using: str, **values: Any) -> int:
        """Run it with these values for its slots, and return how many rows it changed."""
        connection, compiled = connections[using], self._compiled(using)
        with self._cursors.cursor(connection) as cursor:
            compiled.execute(cursor, connection, values)
            return int(cursor.rowcount)

    def _compile(self, using: str) -> _Compiled:
        rows, changes = self._build()
        query = cast("Any", rows.query).chain(UpdateQuery)
        query.add_update_values(changes)
        sql, parameters = query.get_compiler(using=using).as_sql()
        return _Compiled(sql=sql, parameters=tuple(parameters))


class Insert(_Statement):
    """An INSERT of one row, whose key the database draws.

    Args:
        model: the model.
    """

    def __init__(self, model: type[Model]) -> None:
        super().__init__()
        self._model = model

    def run(self, using: str, row: Model) -> None:
        """Insert a row. Its key is not read back, and the instance stays as it is."""
        connection, compiled = connections[using], self._compiled(using)
        with self._cursors.cursor(connection) as cursor:
            compiled.execute(cursor, connection, row.__dict__)

    def _compile(self, using: str) -> _Compiled:
        fields = [field for field in self._model._meta.concrete_fields if not field.primary_key]
        row = self._model(**{field.attname: _Saved(field.attname, field) for field in fields})
        query = InsertQuery(self._model)
        query.insert_values(fields, [row], raw=True)
        [(sql, parameters)] = query.get_compiler(using=using).as_sql()
        return _Compiled(sql=sql, parameters=tuple(parameters))


class Columns(Generic[M]):
    """The columns of a model, and how to make an instance from their values.

    Args:
        model: the model.
        without: attributes that are left out; an instance reads them when they are used.
    """

    def __init__(self, model: type[M], *, without: Collection[str] = ()) -> None:
        self._model = model
        attributes = [field.attname for field in model._meta.concrete_fields]
        names = [name for name in attributes if name not in without]
        # If some are missing, Django looks each of them up in this collection; a dict makes that fast.
        self._attributes: Final[Collection[str]] = dict.fromkeys(names) if without else names
        self._key: Final = names.index(model._meta.pk.attname)

    @classmethod
    def only(cls, model: type[M], names: Collection[str]) -> Columns[M]:
        """Return these columns of a model."""
        return cls(model, without=[name for name in Columns(model).names() if name not in names])

    def __len__(self) -> int:
        return len(self._attributes)

    def names(self, prefix: str = "") -> list[str]:
        """Return their names in a queryset."""
        return [prefix + attribute for attribute in self._attributes]

    def instance(self, using: str, values: Sequence[Any]) -> M | None:
        """Return the instance; None if an outer join found no row."""
        if values[self._key] is None:
            return None
        return self._model.from_db(using, self._attributes, values)
