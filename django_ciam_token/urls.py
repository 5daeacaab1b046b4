"""The endpoints. Include them at the root of the site: ``path("", include("django_ciam_token.urls"))``."""

from django.urls import path

from django_ciam_token.views.authorize import AuthorizationView
from django_ciam_token.views.introspection import IntrospectionView
from django_ciam_token.views.logout import LogoutView
from django_ciam_token.views.metadata import JWKSetView, MetadataView
from django_ciam_token.views.revocation import RevocationView
from django_ciam_token.views.token import TokenView
from django_ciam_token.views.userinfo import UserInfoView

app_name = "django_ciam_token"

urlpatterns = [
    path("oauth2/authorize", AuthorizationView.as_view(), name="authorize"),
    path("oauth2/token", TokenView.as_view(), name="token"),
    path("oauth2/revoke", RevocationView.as_view(), name="revoke"),
    path("oauth2/introspect", IntrospectionView.as_view(), name="introspect"),
    path("oauth2/jwks", JWKSetView.as_view(), name="jwks"),
    path("oauth2/logout", LogoutView.as_view(), name="logout"),
    path("userinfo", UserInfoView.as_view(), name="userinfo"),
    path(".well-known/openid-configuration", MetadataView.as_view(), name="openid-configuration"),
    path(".well-known/oauth-authorization-server", MetadataView.as_view(), name="oauth-authorization-server"),
]
