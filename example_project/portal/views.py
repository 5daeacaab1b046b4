"""How a site issues the first tokens to its applications."""

from django.contrib.auth import authenticate
from django.shortcuts import get_object_or_404
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.parsers import FormParser
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from django_ciam_token.api import issue_tokens
from django_ciam_token.errors import OAuthError
from django_ciam_token.models import Client


class LoginView(APIView):
    """``POST /login`` with username, password and client_id; the answer is that of the token endpoint."""

    authentication_classes = ()
    parser_classes = (FormParser,)
    renderer_classes = (JSONRenderer,)

    def post(self, request: Request) -> Response:
        """Check the password and begin a session."""
        client = get_object_or_404(Client, client_id=request.data.get("client_id", ""))
        user = authenticate(
            request,
            username=request.data.get("username", ""),
            password=request.data.get("password", ""),
        )
        if user is None:
            raise AuthenticationFailed
        try:
            answer = issue_tokens(client=client, user=user, request=request)
        except OAuthError as error:
            return Response(error.members(), status=error.status)
        return Response(answer, headers={"Cache-Control": "private, no-store"})
