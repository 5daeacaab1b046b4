"""What gunicorn serves of the sites that are Django's."""

from django.core.wsgi import get_wsgi_application

application = get_wsgi_application()
