"""The token service at the root."""

from django.urls import include, path

urlpatterns = [path("", include("django_ciam_token.urls"))]
