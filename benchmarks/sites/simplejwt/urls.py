"""Its view for refreshing."""

from django.urls import path
from rest_framework_simplejwt.views import TokenRefreshView

urlpatterns = [path("token/refresh", TokenRefreshView.as_view())]
