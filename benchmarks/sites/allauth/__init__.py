"""The identity provider of django-allauth."""
