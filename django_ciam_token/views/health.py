"""``GET /oauth2/health``, for load balancers and monitoring; a site that wants it adds it to its URLs."""

from __future__ import annotations

from http import HTTPStatus

from rest_framework.request import Request
from rest_framework.response import Response

from django_ciam_token.monitoring.health import is_healthy
from django_ciam_token.views.base import EndpointView
from django_ciam_token.views.rendering import NO_STORE


class HealthView(EndpointView):
    """200 if this process can issue tokens, 503 if not; the log says why.

    Those who ask are not authenticated, and learn nothing else.
    """

    http_method_names = ["get", "head"]
    throttle_classes = ()

    def get(self, request: Request) -> Response:
        """Answer the question."""
        if is_healthy():
            return Response({"status": "ok"}, headers=NO_STORE)
        response = Response(
            {"status": "unavailable"}, status=HTTPStatus.SERVICE_UNAVAILABLE, headers=NO_STORE
        )
        # Logged by us. Django would log each probe as an error, and mail it to ADMINS.
        response._has_been_logged = True  # type: ignore[attr-defined]
        return response
