"""A long run: all endpoints under load, while keys, secrets and passwords change and rows are purged.

``python -m tests.soak`` runs real gunicorn workers on a PostgreSQL of its own, for an hour. Every minute it
records what the site takes up, and at the end it judges the record: nothing may grow that should not.

    __main__
    running                    the site, the load, and what the operator does meanwhile
    people  services           who sends requests
    meter                      how long the answers take, and whether they are the right ones
    site  settings  urls       the site under test
    operations                 its operator, in a process with Django
    sampling                   what the site takes up
    judging  report            pure: the rules and the tables
    records                    what they are about
"""
