"""The mutants of a file: each is the file with one small change."""

from __future__ import annotations

import ast
import random
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Final

CORE: Final = (
    "clients",
    "crypto",
    "database",
    "grants",
    "keys",
    "sessions",
    "tokens",
    "views/base.py",
    "views/form.py",
    "views/throttling.py",
    "views/token.py",
)
"""Below the package."""

_COMPARISONS: Final = {
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
    ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
}
_ARITHMETIC: Final = {
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "/"),
    ast.Div: ("/", "*"),
    ast.FloorDiv: ("//", "*"),
    ast.Mod: ("%", "*"),
    ast.Pow: ("**", "*"),
    ast.BitAnd: ("&", "|"),
    ast.BitOr: ("|", "&"),
    ast.LShift: ("<<", ">>"),
    ast.RShift: (">>", "<<"),
}
_NAMES: Final = {"min": "max", "max": "min", "any": "all", "all": "any"}
_METHODS: Final = {"filter": "exclude", "exclude": "filter"}
# What these say is for people and tools; a change of it is no defect.
_NOT_JUDGED: Final = frozenset({"getLogger", "TypeVar", "lru_cache", "gettext_lazy", "cast", "dataclass"})


@dataclass(frozen=True)
class Mutant:
    """A change of one place in a file."""

    path: str
    """Of the file, from the root of the project."""
    scope: str
    """The class and function that have the place; empty for the module."""
    lines: tuple[int, int]
    """The first and the last line of the statement, or of the head of a compound one."""
    was: str
    """The lines of the place, with white space collapsed."""
    becomes: str
    """The same, changed."""
    change: tuple[int, int, str] = field(repr=False)
    """From which byte of the file to which, and what comes there instead."""

    @property
    def name(self) -> tuple[str, str, str, str]:
        """What tells it from others as long as its code does not change."""
        return self.path, self.scope, self.was, self.becomes

    def applied_to(self, text: bytes) -> bytes:
        """Return the file, changed."""
        begin, end, new = self.change
        source = text[:begin] + new.encode() + text[end:]
        compile(source, self.path, "exec")
        return source

    def __str__(self) -> str:
        return f"{self.path}:{self.lines[0]} {self.scope}\n    - {self.was}\n    + {self.becomes}"


def files_of_core(root: Path, package: str, core: Iterable[str] = CORE) -> list[Path]:
    """Return the Python files of the core, sorted."""
    places = [root / package / name for name in core]
    return sorted(
        file for place in places for file in ([place] if place.suffix == ".py" else place.rglob("*.py"))
    )


def mutants_of(root: Path, files: Iterable[Path]) -> list[Mutant]:
    """Return all mutants of some files, always in the same order."""
    return [mutant for file in files for mutant in _Mutator(root, file).mutants()]


def sample(mutants: list[Mutant], number: int | None, *, seed: int) -> list[Mutant]:
    """Return so many of them, drawn at random but always the same for a seed; all if there is no number."""
    if number is None or number >= len(mutants):
        return mutants
    chosen = random.Random(seed).sample(range(len(mutants)), number)
    # In the order in which they were drawn: a run that is ended early has tried some of each file.
    return [mutants[index] for index in chosen]


@dataclass(frozen=True)
class _Place:
    node: ast.AST
    statement: ast.stmt
    scope: str


class _Mutator:
    def __init__(self, root: Path, file: Path) -> None:
        self.path = file.relative_to(root).as_posix()
        self.text = file.read_bytes()
        self.starts = [0]
        for line in self.text.splitlines(keepends=True):
            self.starts.append(self.starts[-1] + len(line))

    def mutants(self) -> Iterator[Mutant]:
        for place in _places(ast.parse(self.text)):
            for begin, end, new in self._changes(place.node):
                yield self._mutant(place, begin, end, new)

    def _mutant(self, place: _Place, begin: int, end: int, new: str) -> Mutant:
        last = end if new else end - 1
        first_of_line = self.text.rindex(b"\n", 0, begin) + 1 if b"\n" in self.text[:begin] else 0
        end_of_line = self.text.find(b"\n", last)
        end_of_line = len(self.text) if end_of_line < 0 else end_of_line
        head, tail = self.text[first_of_line:begin].decode(), self.text[end:end_of_line].decode()
        return Mutant(
            path=self.path,
            scope=place.scope,
            lines=_lines(place),
            was=_collapsed(head + self.text[begin:end].decode() + tail),
            becomes=_collapsed(head + new + tail),
            change=(begin, end, new),
        )

    def _span(self, node: ast.AST) -> tuple[int, int]:
        """Return where a node begins and ends, in bytes."""
        begin = self.starts[node.lineno - 1] + node.col_offset  # type: ignore[attr-defined]
        end = self.starts[node.end_lineno - 1] + node.end_col_offset  # type: ignore[attr-defined]
        return begin, end

    def _changes(self, node: ast.AST) -> Iterator[tuple[int, int, str]]:
        """Yield what may be changed about a node: where it begins and ends, and what replaces it."""
        change = getattr(self, f"_of_{type(node).__name__.lower()}", None)
        if change is not None:
            yield from change(node)

    def _between(self, left: ast.AST, right: ast.AST, old: str, new: str) -> tuple[int, int, str]:
        """Replace the operator between two operands."""
        gap = self._span(left)[1]
        pattern = rb"\s+".join(map(re.escape, old.encode().split()))
        text = self.text[gap : self._span(right)[0]]
        found = re.search(pattern, text)
        assert found is not None, (self.path, text, old)
        return gap + found.start(), gap + found.end(), new

    def _of_compare(self, node: ast.Compare) -> Iterator[tuple[int, int, str]]:
        for (left, right), operator in zip(pairwise([node.left, *node.comparators]), node.ops, strict=True):
            yield self._between(left, right, *_COMPARISONS[type(operator)])

    def _of_binop(self, node: ast.BinOp) -> Iterator[tuple[int, int, str]]:
        if type(node.op) in _ARITHMETIC:
            yield self._between(node.left, node.right, *_ARITHMETIC[type(node.op)])

    def _of_augassign(self, node: ast.AugAssign) -> Iterator[tuple[int, int, str]]:
        if type(node.op) in _ARITHMETIC:
            old, new = _ARITHMETIC[type(node.op)]
            yield self._between(node.target, node.value, f"{old}=", f"{new}=")

    def _of_boolop(self, node: ast.BoolOp) -> Iterator[tuple[int, int, str]]:
        words = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
        for left, right in pairwise(node.values):
            yield self._between(left, right, *words)

    def _of_unaryop(self, node: ast.UnaryOp) -> Iterator[tuple[int, int, str]]:
        if isinstance(node.op, ast.Not | ast.USub):
            begin, end = self._span(node)
            yield begin, end, f"({self.text[slice(*self._span(node.operand))].decode()})"

    def _of_if(self, node: ast.If | ast.IfExp | ast.While) -> Iterator[tuple[int, int, str]]:
        # Comparisons and `not` have changes of their own.
        if not isinstance(node.test, ast.Compare | ast.UnaryOp | ast.NamedExpr | ast.Constant):
            begin, end = self._span(node.test)
            yield begin, end, f"not ({self.text[begin:end].decode()})"

    _of_ifexp = _of_while = _of_if

    def _of_constant(self, node: ast.Constant) -> Iterator[tuple[int, int, str]]:
        value = node.value
        if isinstance(value, bool):
            yield *self._span(node), str(not value)
        elif isinstance(value, int | float):
            yield *self._span(node), repr(value + 1)
        elif isinstance(value, str | bytes) and not _is_prose(value):
            yield *self._span(node), repr("XX" if isinstance(value, str) else b"XX")

    def _of_return(self, node: ast.Return) -> Iterator[tuple[int, int, str]]:
        if node.value is not None and not isinstance(node.value, ast.Constant):
            yield *self._span(node.value), "None"

    def _of_raise(self, node: ast.Raise) -> Iterator[tuple[int, int, str]]:
        yield *self._span(node), "pass"

    def _of_expr(self, node: ast.Expr) -> Iterator[tuple[int, int, str]]:
        if isinstance(node.value, ast.Call):
            yield *self._span(node), "pass"

    def _of_continue(self, node: ast.Continue) -> Iterator[tuple[int, int, str]]:
        yield *self._span(node), "break"

    def _of_break(self, node: ast.Break) -> Iterator[tuple[int, int, str]]:
        yield *self._span(node), "continue"

    def _of_call(self, node: ast.Call) -> Iterator[tuple[int, int, str]]:
        name = node.func
        if _called(node) in _NOT_JUDGED:
            return
        if isinstance(name, ast.Name) and name.id in _NAMES:
            yield *self._span(name), _NAMES[name.id]
        if isinstance(name, ast.Attribute) and name.attr in _METHODS:
            end = self._span(name)[1]
            yield end - len(name.attr), end, _METHODS[name.attr]
        if isinstance(name, ast.Attribute) and name.attr == "using":
            # From the database that is written to, or from whichever the site's router names for reading.
            yield self._span(name.value)[1], self._span(node)[1], ""
        for keyword in node.keywords:
            if keyword.arg is not None:
                yield self._without(keyword)

    def _without(self, keyword: ast.keyword) -> tuple[int, int, str]:
        """Leave out a keyword argument, with the comma behind it."""
        begin, end = self._span(keyword)
        comma = re.match(rb"\s*,[ \t]*", self.text[end:])
        return begin, end + (comma.end() if comma else 0), ""


def _places(tree: ast.Module) -> Iterator[_Place]:
    def visit(node: ast.AST, statement: ast.stmt | None, scope: tuple[str, ...]) -> Iterator[_Place]:
        for child in _children(node):
            inner = child if isinstance(child, ast.stmt) else statement
            if inner is None:
                continue
            yield _Place(child, inner, ".".join(scope))
            names = isinstance(child, ast.FunctionDef | ast.ClassDef)
            yield from visit(child, inner, (*scope, child.name) if names else scope)

    yield from visit(tree, None, ())


def _children(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what runs: neither annotations nor docstrings, nor what is only for people and type checkers."""
    if _is_left_out(node):
        return
    for name, value in ast.iter_fields(node):
        if name in {"annotation", "returns", "format_spec"} or (isinstance(node, ast.JoinedStr)):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not _is_docstring(child) and not _is_message(node, child):
                yield child


def _is_left_out(node: ast.AST) -> bool:
    if isinstance(node, ast.If):
        return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    if isinstance(node, ast.Assign):
        return isinstance(node.targets[0], ast.Name) and node.targets[0].id == "__all__"
    if isinstance(node, ast.Call):
        return _called(node) in _NOT_JUDGED
    if isinstance(node, ast.ClassDef):
        return any(isinstance(base, ast.Name) and base.id == "Protocol" for base in node.bases)
    return False


def _called(node: ast.Call) -> str:
    return getattr(node.func, "attr", None) or getattr(node.func, "id", "")


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _is_message(node: ast.AST, child: ast.AST) -> bool:
    """Tell whether it is the text of a log record or of an error, or the repr of a field."""
    if not isinstance(node, ast.Call):
        return False
    if isinstance(child, ast.keyword):
        return child.arg in {"verbose_name", "help_text"}
    is_log = isinstance(node.func, ast.Attribute) and getattr(node.func.value, "id", "") == "logger"
    return is_log and isinstance(child, ast.Constant) and child is not node.func


def _is_prose(text: str | bytes) -> bool:
    return (b" " if isinstance(text, bytes) else " ") in text and len(text) > 1  # type: ignore[operator]


def _lines(place: _Place) -> tuple[int, int]:
    statement = place.statement
    body = getattr(statement, "body", None)
    last = max(statement.lineno, body[0].lineno - 1) if body else statement.end_lineno or statement.lineno
    if isinstance(place.node, ast.expr):
        return min(statement.lineno, place.node.lineno), max(last, place.node.end_lineno or last)
    return statement.lineno, last


def _collapsed(text: str) -> str:
    return " ".join(text.split())
