"""The site of the tests with the opt-in health view."""

from django.urls import path

from django_ciam_token.views.health import HealthView
from tests.urls import urlpatterns as _endpoints

urlpatterns = [*_endpoints, path("oauth2/health", HealthView.as_view())]
