"""What ``manage.py demo`` is made of: a single-page application, the servers, and a walk through both."""
