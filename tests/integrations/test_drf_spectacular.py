"""The schema that drf-spectacular generates for a site; its warnings are errors here."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from django.urls import include, path
from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.validation import validate_schema
from rest_framework.response import Response
from rest_framework.schemas.inspectors import DefaultSchema
from rest_framework.serializers import CharField, Serializer
from rest_framework.views import APIView

from django_ciam_token.integrations import drf_spectacular
from django_ciam_token.resource_server import AccessTokenAuthentication, has_scopes
from django_ciam_token.views.base import EndpointView
from django_ciam_token.views.token import TokenView
from django_ciam_token.views.userinfo import UserInfoView


class OrderSerializer(Serializer):
    number = CharField()


class Portal(AccessTokenAuthentication):
    """A site may subclass it."""


class OrdersView(APIView):
    authentication_classes = [AccessTokenAuthentication]
    permission_classes = [has_scopes("orders")]
    serializer_class = OrderSerializer

    def get(self, request):
        return Response()


class PortalView(OrdersView):
    authentication_classes = [Portal]


class OurTokenView(TokenView):
    """A site may subclass the endpoints."""


patterns = [
    path("orders", OrdersView.as_view()),
    path("portal", PortalView.as_view()),
    path("our/token", OurTokenView.as_view()),
    path("", include("django_ciam_token.urls")),
]


@pytest.fixture(autouse=True)
def _site(settings, monkeypatch):
    settings.REST_FRAMEWORK = {"DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema"}
    monkeypatch.setattr(EndpointView, "schema", None)


@pytest.fixture
def schema():
    drf_spectacular.describe(EndpointView)
    GENERATOR_STATS.reset()
    with GENERATOR_STATS.silence():
        schema = SchemaGenerator(patterns=patterns).get_schema(request=None, public=True)
    assert not GENERATOR_STATS._warn_cache, GENERATOR_STATS._warn_cache
    assert not GENERATOR_STATS._error_cache, GENERATOR_STATS._error_cache
    validate_schema(schema)
    return json.loads(json.dumps(schema))


def resolve(schema, reference):
    return schema["components"]["schemas"][reference["$ref"].rsplit("/", 1)[1]]


def form_of(schema, url):
    [(media_type, content)] = schema["paths"][url]["post"]["requestBody"]["content"].items()
    assert media_type == "application/x-www-form-urlencoded"
    assert schema["paths"][url]["post"]["requestBody"]["required"] is True
    return resolve(schema, content["schema"])


def answer_of(schema, operation, status):
    [(media_type, content)] = operation["responses"][status]["content"].items()
    assert media_type == "application/json"
    return resolve(schema, content["schema"]) if "$ref" in content["schema"] else content["schema"]


def test_every_endpoint_is_in_the_schema_under_its_methods(schema):
    assert {url: sorted(operations) for url, operations in schema["paths"].items()} == {
        "/orders": ["get"],
        "/portal": ["get"],
        "/our/token": ["post"],
        "/oauth2/token": ["post"],
        "/oauth2/revoke": ["post"],
        "/oauth2/introspect": ["post"],
        "/oauth2/jwks": ["get"],
        "/.well-known/openid-configuration": ["get"],
        "/.well-known/oauth-authorization-server": ["get"],
        "/userinfo": ["get", "post"],
    }


@pytest.mark.parametrize(("url", "scheme"), [("/orders", "accessToken"), ("/portal", "Portal")])
def test_a_protected_view_takes_a_bearer_jwt(schema, url, scheme):
    assert schema["paths"][url]["get"]["security"] == [{scheme: []}]
    assert schema["components"]["securitySchemes"][scheme] == {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
    }


@pytest.mark.parametrize("url", ["/oauth2/token", "/our/token"])
def test_the_token_endpoint_takes_a_form_and_answers_tokens(schema, url):
    operation = schema["paths"][url]["post"]
    form = form_of(schema, url)

    assert list(form["properties"]) == [
        *("grant_type", "refresh_token", "scope", "client_id", "client_secret")
    ]
    assert form["required"] == ["grant_type"]
    assert list(answer_of(schema, operation, "200")["properties"]) == [
        *("access_token", "refresh_token", "scope", "id_token", "token_type", "expires_in")
    ]
    for status in ("400", "401", "429", "503"):
        assert answer_of(schema, operation, status)["required"] == ["error"]
    assert operation["security"] == [{"basicAuth": []}, {}]
    assert operation["tags"] == ["oauth2"]


@pytest.mark.parametrize("url", ["/oauth2/revoke", "/oauth2/introspect"])
def test_revocation_and_introspection_take_a_token(schema, url):
    assert form_of(schema, url)["required"] == ["token"]
    assert schema["paths"][url]["post"]["security"] == [{"basicAuth": []}, {}]


def test_of_an_introspection_only_active_is_required(schema):
    answer = answer_of(schema, schema["paths"]["/oauth2/introspect"]["post"], "200")

    assert answer["required"] == ["active"]
    assert set(answer["properties"]) == {
        *("active", "scope", "client_id", "username", "token_type"),
        *("exp", "iat", "nbf", "sub", "aud", "iss", "jti", "sid"),
    }


@pytest.mark.parametrize("method", ["get", "post"])
def test_userinfo_takes_an_access_token_and_no_body(schema, method):
    operation = schema["paths"]["/userinfo"][method]

    assert operation["security"] == [{"accessToken": []}]
    assert "requestBody" not in operation
    assert answer_of(schema, operation, "200")["required"] == ["sub"]
    assert set(operation["responses"]) == {"200", "400", "401", "403", "503"}


def test_public_documents_need_no_authentication(schema):
    jwks = schema["paths"]["/oauth2/jwks"]["get"]
    metadata = schema["paths"]["/.well-known/openid-configuration"]["get"]

    assert "security" not in jwks
    assert "security" not in metadata
    key = answer_of(schema, jwks, "200")["properties"]["keys"]["items"]
    assert key["required"] == ["kty", "kid", "use", "alg"]
    assert "token_endpoint" in answer_of(schema, metadata, "200")["properties"]


def test_describing_the_views_does_not_change_them(schema):
    assert TokenView.authentication_classes == ()
    assert UserInfoView.authentication_classes == ()
    assert not hasattr(TokenView.post, "kwargs")


def test_without_describe_the_endpoints_are_in_no_schema():
    paths = SchemaGenerator(patterns=patterns).get_schema(request=None, public=True)["paths"]

    assert list(paths) == ["/orders", "/portal"]
    drf_spectacular.describe(EndpointView)
    assert isinstance(vars(EndpointView)["schema"], DefaultSchema)


def test_the_package_does_not_need_drf_spectacular():
    program = """
import sys
sys.modules["drf_spectacular"] = None
import django
from django.conf import settings
settings.configure(
    SECRET_KEY="x" * 50,
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django_ciam_token"],
    CIAM_TOKEN={"ISSUER": "https://id.example.com"},
)
django.setup()
import django_ciam_token.urls, django_ciam_token.resource_server, django_ciam_token.views.userinfo
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
