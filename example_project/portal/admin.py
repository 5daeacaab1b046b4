"""The users' page of the admin, with their sessions."""

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import User

from django_ciam_token.admin import SessionsOfUserMixin

admin.site.unregister(User)


@admin.register(User)
class PortalUserAdmin(SessionsOfUserMixin, UserAdmin):
    """Shows where a user is signed in, and can sign them out everywhere."""
