from django.conf import settings
from django.conf.urls.i18n import i18n_patterns
from django.contrib import admin
from django.urls import include, path
from knox import views as knox_views
from rest_framework_simplejwt.views import TokenObtainPairView, TokenRefreshView

urlpatterns = [
    path("admin/", admin.site.urls),
    path("o/", include("oauth2_provider.urls")),
    path("jwt/token", TokenObtainPairView.as_view()),
    path("jwt/refresh", TokenRefreshView.as_view()),
    path("knox/logout", knox_views.LogoutView.as_view()),
    path("accounts/", include("allauth.urls")),
    path("", include("allauth.idp.urls")),
]
if settings.VARIANT == "languages":
    urlpatterns = [*i18n_patterns(path("", include("django_ciam_token.urls"))), *urlpatterns]
else:
    prefix = f"{settings.OUR_PREFIX}/".removeprefix("/")
    urlpatterns = [path(prefix, include("django_ciam_token.urls")), *urlpatterns]
