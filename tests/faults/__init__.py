"""Faults under load: whatever fails between a client and its database, a client that retries stays signed in.

``python -m tests.faults`` runs real gunicorn workers on real databases. Many clients refresh in chains while
it breaks things, and at the end it prints one table.

    __main__, test_faults
    campaign  table
    faults
    stage
    chains  verifiers
    site  proxy  wire
    servers
    processes
"""
