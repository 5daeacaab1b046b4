"""The example project with the opt-in health view and a protected view."""

from config.urls import urlpatterns as _of_the_example
from django.urls import path
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from django_ciam_token.resource_server import AccessTokenAuthentication
from django_ciam_token.views.health import HealthView


class ProtectedView(APIView):
    authentication_classes = (AccessTokenAuthentication,)
    permission_classes = (IsAuthenticated,)

    def get(self, request: Request) -> Response:
        return Response({"user": str(request.user)})


urlpatterns = [
    *_of_the_example,
    path("oauth2/health", HealthView.as_view()),
    path("protected", ProtectedView.as_view()),
]
