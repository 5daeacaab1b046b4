"""Every reason of a refusal that the package gives, as its source has them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

from django_ciam_token.authorization import errors as authorization_errors
from django_ciam_token.errors import OAuthError
from django_ciam_token.models import RevocationReason
from django_ciam_token.sessions import deletion
from tests.docs.pages import sources

# A reason that is computed: `require` refuses a form in which this parameter is missing.
REQUIRE = "missing_"
_NAMES = ("reason", "failure")


def reasons() -> set[str]:
    """Return all of them, by reading the source."""
    found = {str(reason) for reason in RevocationReason.values}
    found |= {deletion.USER_DELETED, deletion.CLIENT_DELETED}
    # Raised through a table, by their class.
    found |= {
        error.error
        for error in vars(authorization_errors).values()
        if isinstance(error, type) and error.__name__.endswith("NotSupported")
    }
    for path in sources():
        for call in ast.walk(ast.parse(path.read_text())):
            if isinstance(call, ast.Call):
                found.update(_of_call(call))
            elif isinstance(call, ast.FunctionDef) and call.name == "_explain":
                found.update(_strings(node.value) for node in ast.walk(call) if isinstance(node, ast.Return))
    return {reason for reason in found if reason and reason != REQUIRE}


def _of_call(call: ast.Call) -> Iterator[str]:
    name = call.func.id if isinstance(call.func, ast.Name) else ""
    given = [keyword.value for keyword in call.keywords if keyword.arg in _NAMES]
    for value in given:
        yield from (
            node.value
            for node in ast.walk(value)
            if isinstance(node, ast.Constant) and _is_reason(node.value)
        )
    if name == "unreadable":
        yield _strings(call.args[0])
    elif name == "require" and len(call.args) == 2:
        yield REQUIRE + _strings(call.args[1])
    elif name in _errors() and not given and (reason := _default(name)):
        yield reason


def _is_reason(value: Any) -> bool:
    return isinstance(value, str) and value.replace("_", "").isalnum()


def _strings(node: ast.expr | None) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _default(name: str) -> str:
    """Return the reason of an error that is raised without one: its code."""
    error = _errors()[name]
    # Their initialisers give the reason, which is in the source as a keyword.
    return error.error if error.__init__ in (OAuthError.__init__,) else ""


def _errors() -> dict[str, type[OAuthError]]:
    from django_ciam_token import errors

    return {
        name: value
        for module in (errors, authorization_errors)
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, OAuthError)
    }
