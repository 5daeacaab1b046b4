"""What an authentication method is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar

from django_ciam_token.concealed import Concealed, Parameters
from django_ciam_token.errors import InvalidRequest
from django_ciam_token.sessions.rows import ClientReading, StoredSecret


@dataclass(frozen=True)
class Credentials:
    """What a request claims; nothing of it has been checked."""

    method: AuthenticationMethod
    client_id: str
    secret: Concealed | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Outcome:
    """What the check of some credentials found."""

    failure: str | None = None
    """Why they are refused, for the log; None if they are right."""
    secret: StoredSecret | None = None
    """Which of the client's secrets was presented, if any."""


class AuthenticationMethod(ABC):
    """One way in which a client proves who it is."""

    name: ClassVar[str]
    """As registered for ``token_endpoint_auth_method`` (RFC 7591 §2)."""
    is_confidential: ClassVar[bool] = True
    """Whether the client proves who it is; a public client only says so (RFC 6749 §2.1)."""
    parameter: ClassVar[str | None] = None
    """The parameter of the form that holds the proof; None if it is in the Authorization header."""

    @abstractmethod
    def is_used(self, authorization: str | None, parameters: Parameters) -> bool:
        """Tell whether a request authenticates its client in this way.

        Args:
            authorization: the Authorization header.
            parameters: of the form, each given once and not empty.
        """

    @abstractmethod
    def read(self, authorization: str | None, parameters: Parameters) -> Credentials:
        """Return the credentials of a request that uses this method.

        Raises:
            InvalidRequest: something is missing, or contradicts something else (RFC 6749 §2.3).
            InvalidClient: they are malformed.
        """

    @abstractmethod
    def check(
        self,
        credentials: Credentials,
        reading: ClientReading | None,
        *,
        now: datetime,
        may_guess: Callable[[], bool],
    ) -> Outcome:
        """Judge credentials; the work must not depend on whether the client exists.

        Args:
            credentials: what `read` returned.
            reading: the client that they name; None if there is none.
            now: the present.
            may_guess: whether proofs that people could guess, which are slow to check, may still be tried.
        """


def require_client_id(parameters: Parameters) -> str:
    """Return the client_id of the form.

    Raises:
        InvalidRequest: there is none.
    """
    if "client_id" not in parameters:
        raise InvalidRequest("client_id is missing; send it in the form body", reason="missing_client_id")
    return parameters["client_id"]
