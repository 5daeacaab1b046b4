"""The application that gunicorn serves for the sites that use Django."""

from django.core.wsgi import get_wsgi_application

application = get_wsgi_application()
