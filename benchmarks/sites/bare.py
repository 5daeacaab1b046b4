"""A view of Django REST framework that does nothing: what is left is authentication."""

from __future__ import annotations

from typing import Any

from rest_framework.authentication import BaseAuthentication
from rest_framework.permissions import IsAuthenticated
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView


class Bare(APIView):
    """The view, the same for every server."""

    permission_classes = [IsAuthenticated]
    renderer_classes = [JSONRenderer]

    def get(self, request: Request) -> Response:
        """Answer."""
        return Response({"ok": True})


def view(authentication: type[BaseAuthentication], **attributes: Any) -> Any:
    """Return the view with a class that authenticates."""
    return type("View", (Bare,), {"authentication_classes": [authentication], **attributes}).as_view()
