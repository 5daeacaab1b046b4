"""Metrics for OpenTelemetry, through its API package alone: what exports them is for the site to say.

Without the package nothing listens to the signals, and the service measures nothing. With it but without an
SDK, what is measured goes nowhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from django.dispatch import Signal

from django_ciam_token import signals
from django_ciam_token.models import Client, RefreshToken, RevocationReason

METER: Final = "django_ciam_token"

UNKNOWN: Final = "unknown"
"""The value for all client_ids that do not exist, and all grants that are not served."""
OTHER: Final = "other"
"""The value for what there is too much of."""
# Each value of an attribute is a time series of its own, in each process, for as long as that lives.
_MOST_CLIENTS: Final = 500
_UID: Final = "django_ciam_token.integrations.opentelemetry"


def connect() -> None:
    """Measure, if the package is installed."""
    try:
        from opentelemetry.metrics import get_meter
    except ImportError:
        return
    # Nobody has to have configured the SDK by now: until then this meter is a placeholder for a real one.
    Instruments(get_meter(METER)).connect()


class Instruments:
    """What is measured.

    Args:
        meter: makes the instruments.
    """

    def __init__(self, meter: Any) -> None:
        self._clients: set[str] = set()
        self._requests = meter.create_counter(
            "ciam_token.requests", unit="{request}", description="Requests at the token endpoint"
        )
        self._duration = meter.create_histogram(
            "ciam_token.request.duration", unit="s", description="How long the token endpoint took to answer"
        )
        self._replays = meter.create_counter(
            "ciam_token.replays", unit="{request}", description="Predecessors that got their successor again"
        )
        self._reuse = meter.create_counter(
            "ciam_token.reuse", unit="{session}", description="Sessions ended because of a reused token"
        )
        self._ended = meter.create_counter(
            "ciam_token.sessions.ended", unit="{session}", description="Sessions that were ended"
        )
        self._failures = meter.create_counter(
            "ciam_token.client_authentication.failures",
            unit="{request}",
            description="Failed client authentications at any endpoint; less than all in a flood",
        )

    def connect(self) -> None:
        """Listen to the signals, in place of instruments that listened before."""
        receivers: dict[Signal, Callable[..., None]] = {
            signals.token_request_answered: self._answered,
            signals.tokens_replayed: self._replayed,
            signals.reuse_detected: self._reused,
            signals.sessions_revoked: self._revoked,
            signals.client_authentication_failed: self._failed,
        }
        for signal, receiver in receivers.items():
            signal.disconnect(dispatch_uid=_UID)
            signal.connect(receiver, dispatch_uid=_UID, weak=False)

    @staticmethod
    def disconnect() -> None:
        """Measure nothing any more."""
        for signal in vars(signals).values():
            if isinstance(signal, Signal):
                signal.disconnect(dispatch_uid=_UID)

    def _client(self, client_id: str | None) -> str:
        """Return a client_id as an attribute: of the first that this process meets, each has its own."""
        if not client_id:
            return UNKNOWN
        if client_id not in self._clients:
            if len(self._clients) >= _MOST_CLIENTS:
                return OTHER
            self._clients.add(client_id)
        return client_id

    def _answered(self, *, client_id: str, grant_type: str, outcome: str, duration: float, **_: Any) -> None:
        attributes = {"grant_type": grant_type or UNKNOWN, "outcome": outcome}
        # Not by client: a histogram is a dozen time series for each combination.
        self._duration.record(duration, attributes)
        self._requests.add(1, {"client_id": self._client(client_id), **attributes})

    def _replayed(self, *, client: Client, **_: Any) -> None:
        self._replays.add(1, {"client_id": self._client(client.client_id)})

    def _reused(self, *, client: Client, **_: Any) -> None:
        self._reuse.add(1, {"client_id": self._client(client.client_id)})

    def _revoked(self, *, sessions: list[RefreshToken], reason: str, **_: Any) -> None:
        # A site's own code may give any reason.
        known = reason in RevocationReason.values or reason in ("user_deleted", "client_deleted")
        self._ended.add(len(sessions), {"reason": str(reason) if known else OTHER})

    def _failed(self, *, client_id: str | None, reason: str, **_: Any) -> None:
        self._failures.add(1, {"client_id": self._client(client_id), "reason": reason})
