"""The URLs of the example project."""

from django.contrib import admin
from django.urls import include, path
from portal.views import LoginView

urlpatterns = [
    path("admin/", admin.site.urls),
    path("login", LoginView.as_view()),
    path("", include("django_ciam_token.urls")),
]
