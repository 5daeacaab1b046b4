"""The URLs of the example project."""

from django.contrib import admin
from django.contrib.auth import views as auth_views
from django.contrib.staticfiles.urls import staticfiles_urlpatterns
from django.urls import include, path
from portal.views import LoginView

urlpatterns = [
    path("admin/", admin.site.urls),
    path("accounts/login/", auth_views.LoginView.as_view()),
    path("login", LoginView.as_view()),
    path("", include("django_ciam_token.urls")),
]
# Also under gunicorn, while DEBUG is on.
urlpatterns += staticfiles_urlpatterns()
