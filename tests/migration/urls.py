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
    path("", include("django_ciam_token.urls")),
    path("", include("allauth.idp.urls")),
]
